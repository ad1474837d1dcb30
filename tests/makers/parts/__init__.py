"""Tiny components that many tiny pipelines share."""
