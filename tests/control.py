"""The embedded model steered by outlines: what is drawn, what is shown of it, and calls in the process of the test."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from PIL import Image

from calling import call, run
from demo_pictures import Scene, draw
from octabox import demo
from octabox.config.model import ModelConfig
from octabox.engine.messages import WorkerOptions
from octabox.engine.worker.loading.models import load
from octabox.engine.worker.runner import Runner
from train_demo_adapters import edges_of

#: The class of the embedded model.
PLAIN = "StableDiffusionPipeline"

#: What the outline is of, where the prompt says only `shape`; it is farther from the middle than the model would draw it.
SCENE = Scene("star", "red", "white", radius=0.25, dx=0.12, dy=0.1)

#: Seen from the middle, on the other side.
OTHER = Scene("square", "red", "white", radius=0.25, dx=-0.12, dy=-0.1)

PARAMS: dict[str, Any] = {
    "prompt": "a red shape on a white background",
    "num_inference_steps": 8,
    "guidance_scale": 3.0,
}


def embedded(**fields: Any) -> ModelConfig:
    """Return a configuration of the embedded model."""
    return ModelConfig.model_validate({"name": "steered", "model": str(demo.FOLDER), **fields})


def runner(**fields: Any) -> Runner:
    """Return what runs the embedded model with this configuration."""
    return Runner(load(embedded(**fields), PLAIN, WorkerOptions(device="cpu")))


@cache
def drawn(scene: Scene = SCENE) -> Image.Image:
    """Return the image of a scene."""
    return draw(scene)


@cache
def outline(scene: Scene = SCENE) -> Image.Image:
    """Return the outline of a scene, white on black."""
    return edges_of(drawn(scene))


def made(runs_on: Runner, runs_as: str = PLAIN, inputs: Any = None, **params: Any) -> Image.Image:
    """Return the image of a call."""
    image = run(runs_on, call(runs_as, PARAMS | params, inputs=inputs)).outputs[0][0].value
    assert isinstance(image, Image.Image)
    return image


def differ(first: Image.Image, second: Image.Image) -> float:
    """Return the largest difference of two images, 0 to 255."""
    return float(np.abs(np.asarray(first, dtype=float) - np.asarray(second, dtype=float)).max())
