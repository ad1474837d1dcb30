"""The trained adapters of the embedded model, and what is to be seen in images that they make."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from PIL import Image

from demo_pictures import border_colour, centre_colour, shape_of
from octabox import demo

FOLDER = Path(__file__).parent / "data" / "adapters"
LORAS, EMBEDDINGS, EDGES = FOLDER / "loras", FOLDER / "embeddings", FOLDER / "controlnets" / "edges"
SKETCH = FOLDER / "t2i_adapters" / "sketch"
HEARTS, FRAME = str(LORAS / "hearts.safetensors"), str(LORAS / "frame.safetensors")

#: A prompt that both LoRAs change, and how an image of it is made.
PROMPT = "a red circle on a white background"
STEPS, GUIDANCE = 12, 3.0


def pipeline() -> StableDiffusionPipeline:
    """Return the embedded model."""
    pipe = StableDiffusionPipeline.from_pretrained(demo.FOLDER)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def image(pipe: Any, prompt: str = PROMPT, seed: int = 0, steps: int = STEPS) -> Image.Image:
    """Return an image of a pipeline."""
    generator = torch.Generator().manual_seed(seed)
    made = pipe(prompt, num_inference_steps=steps, guidance_scale=GUIDANCE, generator=generator).images[0]
    assert isinstance(made, Image.Image)
    return made


def shows(made: Image.Image, colour: str = "red", background: str = "white") -> tuple[str, str, str]:
    """Return the shape, its colour, and the colour of the border of an image."""
    inside = made.crop((12, 12, made.width - 12, made.height - 12)).resize(made.size)
    return shape_of(inside, colour, background), centre_colour(made), border_colour(made)


def distance(first: Image.Image, second: Image.Image) -> float:
    """Return the mean absolute difference of two images, 0 to 255."""
    return float(np.abs(np.asarray(first, dtype=float) - np.asarray(second, dtype=float)).mean())


def overlap(made: Image.Image, drawn: Image.Image) -> float:
    """Return how much of what is red in two images they have in common: intersection over union, 0 to 1."""
    pictures = np.asarray(made), np.asarray(drawn)
    first, second = ((each[..., 1] < 140) & (each[..., 0] > 140) for each in pictures)
    return float((first & second).sum() / (first | second).sum())
