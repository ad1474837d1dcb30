"""What the Hub responds: its errors, the messages for them, and the fields of its descriptions."""
