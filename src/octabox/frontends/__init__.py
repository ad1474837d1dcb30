"""Protocols that clients speak."""
