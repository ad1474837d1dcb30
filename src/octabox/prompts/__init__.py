"""What stands in a prompt beside its words: weights, wildcards, styles. No model is needed to read it."""
