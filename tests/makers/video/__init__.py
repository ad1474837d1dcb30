"""Tiny pipelines that make clips."""
