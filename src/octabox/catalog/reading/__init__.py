"""Read catalog entries from the source of diffusers."""
