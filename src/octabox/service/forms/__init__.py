"""What a client needs to make a form of a model's call parameters."""
