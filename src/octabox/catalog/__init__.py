"""What diffusers offers, read from its source without importing it."""
