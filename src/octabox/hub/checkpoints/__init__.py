"""Single-file checkpoints, identified by their tensor names and shapes, without torch."""
