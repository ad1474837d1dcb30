"""LocalAI's contract between its core and a backend, over gRPC."""
