"""API keys, and what may be fetched and read."""
