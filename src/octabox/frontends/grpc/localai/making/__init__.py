"""Generate the outputs of LocalAI's calls, and write their files."""
