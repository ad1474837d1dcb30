"""Tiny pipelines that make videos."""
