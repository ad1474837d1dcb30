"""Cascades as one request: the same bytes as the stages by hand, one progress, one metadata."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from PIL import Image

from octabox.errors import InvalidParameterError, OctaboxError
from octabox.server import Parts
from octabox.types import Generation, GenerationRequest, Progress

PROMPT = "a red star"


async def generate(parts: Parts, model: str, **fields: Any) -> tuple[Generation, list[Progress]]:
    """Make an image with a cascade, and return the result and its progress."""
    fields = {"params": {"prompt": PROMPT}, "seed": 7, **fields}
    progress: list[Progress] = []
    async for event in parts.generation.stream(GenerationRequest(model=model, **fields)):
        if isinstance(event, Generation):
            return event, progress
        progress.append(event)
    raise AssertionError("no result")


def pixels(content: bytes) -> np.ndarray:
    """Return the pixels of a file."""
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))


def by_hand(folder: Path, kind: str, name: str) -> Any:
    """Return a pipeline as diffusers loads it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pipe = getattr(diffusers, kind).from_pretrained(str(folder / "weights" / name))
    pipe.set_progress_bar_config(disable=True)
    return pipe


def seeded() -> torch.Generator:
    """Return the generator of each stage."""
    return torch.Generator("cpu").manual_seed(7)


async def test_stages_of_pixels_pass_on_tensors(parts: Parts, folder: Path) -> None:
    """DeepFloyd's second stage gets the tensor of the first, as by hand; the progress and the metadata are of both."""
    small = by_hand(folder, "IFPipeline", "small")
    image = small(PROMPT, num_inference_steps=2, height=16, width=16, generator=seeded(), output_type="pt").images
    larger = by_hand(folder, "IFSuperResolutionPipeline", "larger")
    options = {"num_inference_steps": 2, "height": 32, "width": 32, "noise_level": 100, "generator": seeded()}
    expected = np.asarray(larger(prompt=PROMPT, image=image, **options).images[0])
    result, progress = await generate(parts, "floyd")
    assert (pixels(result.artifacts[0].content) == expected).all()
    assert (result.model, result.task) == ("floyd", "text-to-image")
    assert [each.part for each in progress if each.phase == "running"] == sorted(
        each.part for each in progress if each.phase == "running"
    )
    assert {(each.part, each.parts) for each in progress} >= {(1, 2), (2, 2)}
    metadata = result.artifacts[0].metadata
    assert (metadata["model"], metadata["params"]["height"], metadata["seed"]) == ("floyd", 16, 7)
    assert [each["model"] for each in metadata["stages"]] == ["small", "floyd:2"]
    assert [each["pipeline"] for each in metadata["stages"]] == ["IFPipeline", "IFSuperResolutionPipeline"]
    assert metadata["stages"][1]["params"]["noise_level"] == 100
    assert all(each["seconds"] >= 0 for each in metadata["stages"])
    assert metadata["size"] == {"width": 32, "height": 32}
