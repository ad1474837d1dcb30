"""Under which conditions the call of a pipeline reads a parameter, by its source."""
