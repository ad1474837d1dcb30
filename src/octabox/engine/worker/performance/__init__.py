"""Speed up a loaded model: memory layout, fused projections, attention backends, step caches, compilation."""
