"""What the server and its workers have in common about batches: which calls may share one, and what is known of a class."""
