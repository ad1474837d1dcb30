"""The OpenAI images API."""
