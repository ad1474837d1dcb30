"""Tiny pipelines that make images with a transformer."""
