"""The catalog of diffusers classes, read from source without importing it."""
