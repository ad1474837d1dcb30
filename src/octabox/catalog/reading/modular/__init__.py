"""Pipelines that are built of blocks."""
