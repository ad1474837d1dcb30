"""The values of parameters: objects with fields, and the JSON Schemas of values."""
