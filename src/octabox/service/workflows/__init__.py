"""What is done before and after a pipeline's call, as a chain of ordinary requests."""
