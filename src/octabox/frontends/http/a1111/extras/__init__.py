"""What is done to images without a prompt: enlarging, reading their infotext, and captions."""
