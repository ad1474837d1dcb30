"""Generations of any kind, by one route."""
