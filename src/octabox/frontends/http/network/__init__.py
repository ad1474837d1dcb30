"""Connections and the life of the server, whatever its routes are."""
