"""Where a model's weights are, in which dtype, and when they move."""
