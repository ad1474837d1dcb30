"""Stable Cascade and Würstchen as cascades: a prior and a decoder, whose parts diffusers keeps among deprecated pipelines."""

from __future__ import annotations

import json
import warnings
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from makers import pipelines
from octabox.config.settings import Settings
from octabox.server import Parts, build
from service.cascades.test_generation import PROMPT, generate, pixels, seeded

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

#: The prior and the decoder of each cascade.
FAMILIES = {
    "stable-cascade": ("StableCascadePriorPipeline", "StableCascadeDecoderPipeline"),
    "wuerstchen": ("WuerstchenPriorPipeline", "WuerstchenDecoderPipeline"),
}

#: Their parameters.
FIRST: dict[str, Any] = {"num_inference_steps": 3, "height": 128, "width": 128, "guidance_scale": 4.0}
SECOND: dict[str, Any] = {"num_inference_steps": 2, "guidance_scale": 0.0}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a models folder with both cascades; the decoders name their parts as models on the Hub do."""
    folder = tmp_path_factory.mktemp("decoders")
    for name, classes in FAMILIES.items():
        for part, kind in zip(("prior", "decoder"), classes, strict=True):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                pipelines()[kind].make().save_pretrained(str(folder / "weights" / name / part))
        stages = [
            {"model": f"weights/{name}/prior", "params": FIRST},
            {"model": f"weights/{name}/decoder", "params": SECOND},
        ]
        (folder / f"{name}.yaml").write_text(yaml.safe_dump({"stages": stages}), encoding="utf-8")
    index = folder / "weights" / "stable-cascade" / "decoder" / "model_index.json"
    published = {**json.loads(index.read_text(encoding="utf-8")), "vqgan": ["wuerstchen", "PaellaVQModel"]}
    index.write_text(json.dumps(published), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
async def parts(folder: Path) -> AsyncIterator[Parts]:
    """Return all parts over that folder, with one stage in memory at a time."""
    parts = build(Settings.load({"models": folder, "threads": 1, "log_level": "error", "max_resident": 1}))
    await parts.engine.start([])
    yield parts
    await parts.engine.close()


def by_hand(name: str) -> np.ndarray:
    """Return what diffusers makes with both pipelines."""
    prior, decoder = (pipelines()[kind].make() for kind in FAMILIES[name])
    for pipe in (prior, decoder):
        pipe.set_progress_bar_config(disable=True)
    made = prior(PROMPT, **FIRST, generator=seeded())
    image = decoder(made.image_embeddings, prompt=PROMPT, **SECOND, generator=seeded()).images[0]
    return np.asarray(image)


@pytest.mark.parametrize("name", FAMILIES)
async def test_a_prior_and_its_decoder_are_one_request(parts: Parts, name: str) -> None:
    """The pixels are those of both pipelines by hand, with one progress and one metadata."""
    torch.set_num_threads(1)
    expected = by_hand(name)
    result, progress = await generate(parts, name)

    assert (pixels(result.artifacts[0].content) == expected).all()
    assert ("text-to-image", name) == (result.task, result.model)
    assert {(1, 2), (2, 2)} <= {(each.part, each.parts) for each in progress}
    assert list(FAMILIES[name]) == [each["pipeline"] for each in result.artifacts[0].metadata["stages"]]
    assert [f"{name}:2"] == [each.model for each in parts.models.status()]


@pytest.mark.parametrize("name", FAMILIES)
async def test_nothing_is_wrong_with_them(parts: Parts, name: str) -> None:
    """They are listed with what they make, and `problems` has nothing about them."""
    listed = {each.name: each for each in parts.models.snapshot().list()}

    assert "text-to-image" in listed[name].tasks
    assert [] == [each for each in parts.models.problems() if name in str(each)]
