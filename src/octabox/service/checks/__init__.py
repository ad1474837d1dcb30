"""Check model configurations against what the pipelines take."""
