"""The embedded text-to-image model: weights as package data, written by `tools/train_demo_model.py`."""

from pathlib import Path

#: Name of the embedded model.
NAME = "demo"

#: Its folder, in diffusers' format.
FOLDER = Path(__file__).parent / "model"

#: An example prompt.
PROMPT = "a large yellow star on a blue background"

#: Example prompts that a form offers.
PROMPTS = (PROMPT, "a small red heart on a white background", "a green circle on a black background")
