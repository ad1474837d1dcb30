"""Prompt syntax: weights, wildcards and styles, parsed without a model."""
