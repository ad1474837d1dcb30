"""LocalAI's wires."""
