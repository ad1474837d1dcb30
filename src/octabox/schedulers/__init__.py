"""Noise schedulers: names, compatibility with models, and listings."""
