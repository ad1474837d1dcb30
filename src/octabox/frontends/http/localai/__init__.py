"""LocalAI's HTTP API."""
