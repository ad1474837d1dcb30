"""Modular pipelines, which are built of blocks."""
