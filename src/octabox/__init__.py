"""Serve every diffusers pipeline from one program."""
