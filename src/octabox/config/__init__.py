"""Configuration of models and of the server."""
