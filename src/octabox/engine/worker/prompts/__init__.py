"""What becomes of a prompt in a worker: its weights, its length, and what is remembered of it."""
