"""Tiny pipelines that make pictures with a transformer."""
