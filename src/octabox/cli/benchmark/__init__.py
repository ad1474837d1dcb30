"""Measure a model by batch size and memory mode, and show the results."""
