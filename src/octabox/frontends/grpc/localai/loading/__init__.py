"""Bring the model in that LocalAI's core asks for."""
