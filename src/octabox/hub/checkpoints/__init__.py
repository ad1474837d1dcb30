"""What a single file holds, told from the names and shapes of its tensors alone, without torch."""
