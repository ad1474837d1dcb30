"""What `tools/gpu_check.py` is made of: models, a server, the plain library beside it, checks, and the report."""
