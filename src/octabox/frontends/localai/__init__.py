"""LocalAI's wires: its HTTP routes, and its contract of gRPC."""
