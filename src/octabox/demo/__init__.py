"""The embedded text-to-image model: weights as package data, made by `tools/train_demo_model.py`."""

from pathlib import Path

#: Name by which the embedded model is called.
NAME = "demo"

#: Its folder, in diffusers' own format.
FOLDER = Path(__file__).parent / "model"

#: A prompt that shows what it can do.
PROMPT = "a large yellow star on a blue background"
