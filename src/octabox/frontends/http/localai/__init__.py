"""LocalAI's HTTP routes."""
