"""Infotexts as the web UI reads them, in PNG files too."""

from __future__ import annotations

import io

import pytest
from PIL import Image

from fakes import sample_image
from octabox.catalog.pipelines import load_catalog
from octabox.frontends.http.a1111.generation.infotext import build_infotext, extra_pairs, replace_infotext
from octabox.frontends.http.a1111.samplers import label_of
from octabox.media.images import encode
from octabox.media.metadata.infotext import split_infotext
from octabox.types import OutputFormat

METADATA = {
    "params": {"prompt": "a", "num_inference_steps": 8, "guidance_scale": 3.0},
    "seed": 4,
    "model": "demo",
    "size": {"width": 64, "height": 32},
    "scheduler": {"name": "DPMSolverMultistepScheduler", "settings": {}, "schedule": "karras"},
}


def test_names_are_those_of_the_web_ui() -> None:
    """The sampler, the schedule and the hash of the model; the prompt has its tags."""
    text = build_infotext(METADATA, "a <lora:x:1>", {"Model hash": "abc", "VAE": "v"}, "", load_catalog().schedulers)
    prompt, _, pairs = split_infotext(text)

    assert "a <lora:x:1>" == prompt
    assert ("DPM++ 2M", "Karras", "abc", "v", "64x32") == tuple(
        pairs[name] for name in ("Sampler", "Schedule type", "Model hash", "VAE", "Size")
    )
    assert {"Schedule type": "Karras"} == extra_pairs(text)


def test_tags_of_an_expanded_prompt() -> None:
    """They are added to the prompt that was used."""
    adapters = [{"lora": "x", "weight": 0.5}]
    described = {**METADATA, "written": {"prompt": "__w__"}, "adapters": adapters}

    assert build_infotext(described, "__w__", {}, "", ()).startswith("a <lora:x:0.5>\n")


@pytest.mark.parametrize("text", ["plain, Steps: 1", "größe", "星"])
def test_png(text: str) -> None:
    """The text is replaced, and nothing else changes; other formats are unchanged."""
    with Image.open(io.BytesIO(sample_image())) as opened:
        content = encode(opened, OutputFormat("png"), METADATA)[0]
        jpeg = encode(opened, OutputFormat("jpeg"), {})[0]
    with Image.open(io.BytesIO(replace_infotext(content, text))) as image, Image.open(io.BytesIO(content)) as before:
        image.load()
        assert text == image.info["parameters"]
        assert before.info["octabox"] == image.info["octabox"]
        assert before.tobytes() == image.tobytes()
    assert jpeg == replace_infotext(jpeg, text)


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("DDIMScheduler", "DDIM"),
        ("EulerDiscreteScheduler", "Euler"),
        ("FlowMatchEulerDiscreteScheduler", "Euler"),
        ("DPM++ 2M SDE Karras", "DPM++ 2M SDE"),
        ("nothere", "nothere"),
    ],
)
def test_labels(name: str, label: str) -> None:
    """A class has the name of the web UI, also in its form for flows."""
    assert label == label_of(name, load_catalog().schedulers)
