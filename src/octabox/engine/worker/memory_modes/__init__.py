"""The memory modes: what each needs, and what a device has."""
