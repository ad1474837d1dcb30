"""Parse the output of a pipeline, and encode it as files."""
