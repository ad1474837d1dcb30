"""The components of a model: their classes, and what prevents them from being loaded."""
