"""Sections of the settings of the server."""
