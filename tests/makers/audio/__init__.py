"""Tiny pipelines that make sound."""
