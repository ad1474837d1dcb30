"""Tiny pipelines that make audio."""
