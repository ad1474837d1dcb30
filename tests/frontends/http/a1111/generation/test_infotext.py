"""Infotexts as the web UI reads them, in PNG files too."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from PIL import Image

from a1111_bodies import sent
from fakes import Server, sample_image
from octabox.catalog.pipelines import load_catalog
from octabox.frontends.http.a1111.generation.defaults import FIELDS, with_infotext
from octabox.frontends.http.a1111.generation.infotext import Guidances, build_infotext, extra_pairs, replace_infotext
from octabox.frontends.http.a1111.samplers import label_of
from octabox.media.images import encode
from octabox.media.metadata.infotext import split_infotext
from octabox.types import Artifact, OutputFormat

#: A pipeline with classifier-free guidance and that of distilled models.
BOTH = Guidances(*[("true_cfg_scale", "guidance_scale")] * 2)

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


def test_each_field_is_read_back() -> None:
    """What the server writes about an image are the fields that made it."""
    second = {
        "upscaler": "lanczos",
        "scale": 2,
        "steps": 3,
        "strength": 0.5,
        "model": "other",
        "scheduler": {"name": "dpmpp_2m", "schedule": "karras"},
        "params": {"prompt": "y, z", "negative_prompt": "m", "true_cfg_scale": 4, "guidance_scale": 5},
    }
    inpaint = {"area": "masked", "padding": 4, "mask_blur": 3}
    guidance = {"true_cfg_scale": 2, "guidance_scale": 3, "image_guidance_scale": 1.5}
    steps = {"eta": 0.1, "s_churn": 1, "s_tmin": 0.2, "s_tmax": 9, "s_noise": 1.1}
    described = {
        **METADATA,
        "params": {"prompt": "a", "num_inference_steps": 8, **guidance},
        "scheduler": {"name": "EulerDiscreteScheduler", "settings": steps, "schedule": "karras"},
        "workflow": {"hires": second, "refiner": {"model": "fine", "switch_at": 0.8}, "inpaint": inpaint},
        "variation": {"seed": 5, "strength": 0.25},
        "noise": {"scale": 0.5},
        "seamless": {"axes": "xy"},
    }
    other = {**described, "workflow": {"inpaint": {**inpaint, "mask_blur": [2, 6]}}}
    expected = {
        "steps": 8,
        "cfg_scale": 2,
        "distilled_cfg_scale": 3,
        "image_cfg_scale": 1.5,
        "seed": 4,
        "sampler_name": "Euler",
        "scheduler": "Karras",
        "denoising_strength": 0.5,
        "subseed": 5,
        "subseed_strength": 0.25,
        "tiling": True,
        "initial_noise_multiplier": 0.5,
        "hr_scale": 2,
        "hr_upscaler": "Lanczos",
        "hr_second_pass_steps": 3,
        "hr_prompt": "y, z",
        "hr_negative_prompt": "m",
        "hr_checkpoint_name": "other",
        "hr_sampler_name": "DPM++ 2M",
        "hr_scheduler": "Karras",
        "hr_cfg": 4,
        "hr_distilled_cfg": 5,
        "refiner_checkpoint": "fine",
        "refiner_switch_at": 0.8,
        "inpaint_full_res_padding": 4,
        "mask_blur": 3,
        "mask_blur_x": 2,
        "mask_blur_y": 6,
        **steps,
    }
    read: dict[str, Any] = {}
    for each in (other, described):
        text = build_infotext(each, "a", {}, "", load_catalog().schedulers, BOTH)
        read |= with_infotext({"infotext": text})

    assert set(FIELDS.values()) == set(expected)
    assert {name: str(value) for name, value in expected.items()} == {name: read[name] for name in expected}


async def test_an_image_of_a_distilled_model_is_made_again() -> None:
    """Its guidance is not taken for that of the negative prompt, also where the metadata have it alone."""
    server = Server()
    server.add("flow", "FluxPipeline")
    settings = {"sd_model_checkpoint": "flow"}
    for params in ({"guidance_scale": 3.0}, {"guidance_scale": 3.0, "true_cfg_scale": 2.0}):
        described = {**METADATA, "params": {"prompt": "a", "num_inference_steps": 8, **params}}
        server.generations.made = Artifact("image", "image/png", sample_image(), 4, described)
        answer = await server.http.post("/sdapi/v1/txt2img", json={"prompt": "a", "override_settings": settings})
        text = json.loads(answer.json()["info"])["infotexts"][0]
        request, _ = await sent(server, infotext=text, override_settings=settings)

        assert {"num_inference_steps": 8, **params} == {
            name: each for name, each in request.optional_params.items() if name not in ("width", "height")
        }


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
