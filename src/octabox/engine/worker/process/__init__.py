"""The work of a worker process, and its end of the pipe to the server."""
