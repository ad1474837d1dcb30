"""Device, dtype and offloading of a model's weights."""
