"""A pipeline for Octabox that is no part of diffusers: an audio from its mel spectrogram."""
