"""The engine that runs each model in a worker process on this machine."""
