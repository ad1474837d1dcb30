"""Names that clients use, on every protocol."""
