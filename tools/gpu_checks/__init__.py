"""Parts of `tools/gpu_check.py`: models, a server, direct calls of diffusers, checks, and the report."""
