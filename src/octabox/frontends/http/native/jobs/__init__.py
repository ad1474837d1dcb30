"""Background jobs of any kind, by one route."""
