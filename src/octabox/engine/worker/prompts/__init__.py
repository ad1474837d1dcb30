"""Parse, weight, chunk and cache the prompts of a call."""
