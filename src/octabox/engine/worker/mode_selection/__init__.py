"""Run each call in a memory mode that fits."""
