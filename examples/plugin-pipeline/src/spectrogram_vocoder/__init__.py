"""A pipeline for Octabox that is not part of diffusers: audio from its mel spectrogram."""
