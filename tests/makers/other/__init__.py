"""Tiny pipelines that are of no large family."""
