"""Tiny pipelines of families that are told of words by the layers of a whole language model."""
