"""The gRPC servers."""
