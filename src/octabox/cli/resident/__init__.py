"""The server in the background that `octabox run` keeps for its next use."""
