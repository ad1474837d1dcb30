"""Octabox's HTTP API: every task, every parameter and every kind of output by one route."""
