"""Infotexts as the web UI, Forge and SD.Next write them, in the files that they write."""

from __future__ import annotations

import base64
import io
from typing import Any

import pytest
from PIL import Image, PngImagePlugin

from a1111_bodies import sent
from fakes import Server
from octabox.media.metadata.chunks import EXIF_DIRECTORY, UNICODE, USER_COMMENT

#: A text of each, with a part of its parameters.
TEXTS: dict[str, tuple[str, dict[str, str]]] = {
    "web UI": (
        (
            "a cat, <lora:fur:0.7>\\nsitting\nNegative prompt: dog, worst quality\n"
            "Steps: 20, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 7, Seed: 1234, Size: 512x768, "
            "Model hash: 6ce0161689, Model: v1-5-pruned-emaonly, VAE hash: 735e4c3a44, VAE: vae-ft-mse.safetensors, "
            "Denoising strength: 0.7, Clip skip: 2, Hires upscale: 2, Hires steps: 15, Hires upscaler: R-ESRGAN 4x+, "
            'Lora hashes: "fur: 0a1b2c3d4e5f, other: 111111111111", Version: v1.10.1'
        ),
        {"Sampler": "DPM++ 2M", "Size-1": "512", "Size-2": "768", "Clip skip": "2", "Hires upscaler": "R-ESRGAN 4x+"},
    ),
    "Forge": (
        (
            "a house\nSteps: 20, Sampler: Euler, Schedule type: Simple, CFG scale: 1, Distilled CFG Scale: 3.5, Seed: 1234, "
            "Size: 896x1152, Model hash: c161224931, Model: flux1-dev-bnb-nf4, Beta schedule alpha: 0.6, "
            'Hires prompt: "a house, with a garden", Version: f2.0.1v1.10.1-previous-495, '
            "Module 1: ae, Module 2: clip_l, Module 3: t5xxl_fp16"
        ),
        {"Distilled CFG Scale": "3.5", "Module 2": "clip_l", "Hires prompt": "a house, with a garden"},
    ),
    "SD.Next": (
        (
            "a boat\nNegative prompt: bad\nSteps: 30, Size: 1024x1024, Sampler: UniPC, Seed: 1234, CFG scale: 6, "
            "CFG rescale: 0.7, CLiP-skip: 1, Model: sdXL_v10, Model hash: 31e35c80fc, App: SD.Next, Version: 058a7f0, "
            "Pipeline: StableDiffusionXLPipeline, Operations: txt2img; hires, Parser: native"
        ),
        {"CLiP-skip": "1", "App": "SD.Next", "Operations": "txt2img; hires", "Size-2": "1024"},
    ),
}


def saved(text: str, form: str) -> str:
    """Return an image in base64 with an infotext at the place that the format has for it."""
    file, image = io.BytesIO(), Image.new("RGB", (8, 8))
    if form == "PNG":
        info = PngImagePlugin.PngInfo()
        info.add_text("parameters", text)
        image.save(file, form, pnginfo=info)
    else:
        exif = Image.Exif()
        exif.get_ifd(EXIF_DIRECTORY)[USER_COMMENT] = UNICODE + text.encode("utf-16-be")
        image.save(file, form, exif=exif)
    return base64.b64encode(file.getvalue()).decode()


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("name", TEXTS)
async def test_infotexts(name: str, form: str) -> None:
    """The text itself, and its parameters by name, with both sides of sizes."""
    text, expected = TEXTS[name]
    answer = await Server().http.post("/sdapi/v1/png-info", json={"image": saved(text, form)})
    found: dict[str, Any] = answer.json()

    assert {"info", "items", "parameters"} == set(found)
    assert text == found["info"]
    assert {**expected, "Seed": "1234"}.items() <= found["parameters"].items()
    assert text.partition("\n")[0] == found["parameters"]["Prompt"].partition("\n")[0]


@pytest.mark.parametrize(
    ("name", "unknown"), [("web UI", ""), ("Forge", "'Beta schedule alpha' has"), ("SD.Next", "'CFG rescale' has")]
)
async def test_a_request_has_them_as_defaults(name: str, unknown: str) -> None:
    """Each pair is a field or describes what made the image; others are a warning."""
    server = Server()
    text = TEXTS[name][0].replace("R-ESRGAN 4x+", "Lanczos")
    request, warnings = await sent(server, infotext=text, prompt="x")
    notes = [each for each in warnings if "infotext" in each]

    assert 1234 == request.seed
    assert [f"In 'infotext', {unknown} no effect."] * bool(unknown) == notes
