"""Read what the source states about a call beyond its signature: its example, and the dataclasses of its parameters."""
