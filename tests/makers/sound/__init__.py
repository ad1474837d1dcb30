"""Tiny pipelines whose transformers make sound."""
