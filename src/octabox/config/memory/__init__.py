"""Settings of memory: how long models stay there, and how much they may use."""
