"""Read what the source says about a call beyond its signature: its example, and the dataclasses of its parameters."""
