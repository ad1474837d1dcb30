"""A pipeline for Octabox that is no part of diffusers: a sound from its mel spectrogram."""
