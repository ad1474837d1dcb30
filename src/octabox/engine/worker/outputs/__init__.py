"""From what a pipeline returns to files: read its fields, tell what each holds, write it."""
