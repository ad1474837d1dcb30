"""Check what a request says beside its task: pictures that steer it, and pictures as prompts."""
