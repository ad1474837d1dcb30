"""What `octabox run` shows on the terminal."""
