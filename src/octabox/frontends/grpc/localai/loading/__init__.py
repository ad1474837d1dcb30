"""Load the model of a LocalAI backend."""
