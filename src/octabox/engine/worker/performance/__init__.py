"""What makes a loaded model faster: layout of weights, fused projections, attention backends, step caches, compilation."""
