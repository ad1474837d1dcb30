"""Decode and encode images, videos, audio, arrays and meshes, with their metadata."""
