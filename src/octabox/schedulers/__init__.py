"""Noise schedulers: their names, what they suit, and lists of them."""
