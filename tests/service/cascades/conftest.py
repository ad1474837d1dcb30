"""What the tests of cascades share: tiny pipelines in a models folder, and cascades of them behind the one door."""

from __future__ import annotations

import warnings
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import yaml

import upscalers
from makers import pipelines
from octabox.config.settings import Settings
from octabox.server import Parts, build

#: The class of each tiny model.
MODELS = {
    "small": "IFPipeline",
    "larger": "IFSuperResolutionPipeline",
    "prior": "KandinskyV22PriorPipeline",
    "painter": "KandinskyV22Pipeline",
    "base": "StableDiffusionXLPipeline",
}

STEPS = {"num_inference_steps": 2}

#: The stages of each cascade.
CASCADES: dict[str, list[Any]] = {
    "floyd": [
        {"model": "small", "params": {**STEPS, "height": 16, "width": 16}},
        {"model": "weights/larger", "params": {**STEPS, "height": 32, "width": 32, "noise_level": 100}},
    ],
    "kandinsky": [
        {"model": "prior", "params": STEPS},
        {"model": "painter", "params": {**STEPS, "height": 32, "width": 32}},
    ],
    "refined": [
        {"model": "base", "params": {"num_inference_steps": 4, "denoising_end": 0.5, "height": 32, "width": 32}},
        {"model": "base", "params": {"num_inference_steps": 4, "denoising_start": 0.5}},
    ],
    "broken": ["small", "painter"],
}


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a models folder with tiny models and cascades of them."""
    folder = tmp_path_factory.mktemp("cascades")
    for name, kind in MODELS.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            pipelines()[kind].make().save_pretrained(str(folder / "weights" / name))
        (folder / f"{name}.yaml").write_text(f"model: weights/{name}\n", encoding="utf-8")
    upscalers.save(upscalers.restoreformer(), folder / "mender.pth")
    for name, stages in CASCADES.items():
        (folder / f"{name}.yaml").write_text(yaml.safe_dump({"stages": stages}), encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
async def parts(folder: Path) -> AsyncIterator[Parts]:
    """Return all parts over that folder."""
    parts = build(Settings.load({"models": folder, "threads": 1, "log_level": "error", "max_outputs": 4}))
    await parts.engine.start([])
    yield parts
    await parts.engine.close()
