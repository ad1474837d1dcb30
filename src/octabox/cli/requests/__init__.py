"""The request that `octabox run` builds from its options, and from the metadata of a file."""
