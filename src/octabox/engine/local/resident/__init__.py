"""How long models stay in memory, and which one makes room for another."""
