"""Make what LocalAI's core asks for, and write it where it wants it."""
