"""What an image was made from, in the words of the AUTOMATIC1111 web UI."""

from typing import Any

import pytest

from octabox.media.metadata.infotext import format_infotext, parse_infotext

METADATA: dict[str, Any] = {
    "version": "0.1.0",
    "model": "demo",
    "pipeline": "StableDiffusionPipeline",
    "task": "text-to-image",
    "params": {
        "prompt": "a red circle",
        "negative_prompt": "blur, noise",
        "num_inference_steps": 20,
        "guidance_scale": 7,
        "strength": 0.5,
        "width": 128,
        "height": 96,
    },
    "seed": 1,
    "scheduler": {"name": "DDIMScheduler", "settings": {"eta": 0.5}},
}


def test_the_text_of_the_web_ui() -> None:
    """The text is as other programs expect it, with our own names behind."""
    expected = (
        "a red circle\n"
        "Negative prompt: blur, noise\n"
        "Steps: 20, Sampler: DDIMScheduler, CFG scale: 7, Seed: 1, Size: 128x96, Model: demo, Denoising strength: 0.5, "
        "Eta: 0.5, Pipeline: StableDiffusionPipeline, Version: octabox 0.1.0"
    )

    assert expected == format_infotext(METADATA)


def test_values_that_hold_separators_are_quoted() -> None:
    """A comma inside a value does not end it."""
    assert 'Seed: 2, Model: "a, b"' in format_infotext({"model": "a, b", "seed": 2})


def test_the_web_ui_s_text_is_read_back() -> None:
    """What we write for other programs is read as the web UI's own text is: the last line in our words."""
    params = {
        "prompt": "a (red:1.2) star,\nSteps: none",
        "negative_prompt": "blue: yes",
        "num_inference_steps": 20,
        "guidance_scale": 3.5,
        "width": 64,
        "height": 32,
        "strength": 0.5,
    }
    facts = {
        "clip_layer": 2,
        "params": params,
        "seed": 0,
        "model": "a, b",
        "scheduler": {"name": "Euler"},
        "pipeline": "P",
        "version": "1",
    }

    assert {
        "params": params,
        "prompt_syntax": "a1111",
        "clip_layer": 2,
        "seed": 0,
        "model": "a, b",
        "scheduler": {"name": "Euler", "settings": {}},
    } == parse_infotext(format_infotext(facts))
    assert "Clip skip: 2" in format_infotext(facts)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a star", {"prompt": "a star"}),
        ("a star\nSteps: 4, Seed: 1", {"prompt": "a star\nSteps: 4, Seed: 1"}),
        (
            "a\nNegative prompt: b\nc\nSteps: x, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 7, Clip skip: 2",
            {"prompt": "a", "negative_prompt": "b\nc", "guidance_scale": 7.0},
        ),
    ],
)
def test_texts_of_the_web_ui(text: str, expected: dict[str, Any]) -> None:
    """Few pairs are words of the prompt, and what is no number is left out."""
    assert expected == parse_infotext(text)["params"]


def test_the_web_ui_s_schedule_belongs_to_its_sampler() -> None:
    """Both are one name, less what the web UI calls automatic."""
    pairs = "a\nSteps: 4, Sampler: DPM++ 2M, Schedule type: {}, CFG scale: 7"

    assert "DPM++ 2M Karras" == parse_infotext(pairs.format("Karras"))["scheduler"]["name"]
    assert "DPM++ 2M" == parse_infotext(pairs.format("Automatic"))["scheduler"]["name"]


def test_the_noise_of_steps_is_read_back() -> None:
    """It belongs to the sampler, but for the noise of DDIM, which is a call parameter; an infinite value is the default."""
    settings = {"s_churn": 5.0, "s_tmin": 0.1, "s_tmax": 9.0, "s_noise": 1.01}
    metadata = {
        "params": {"prompt": "a", "num_inference_steps": 20, "eta": 0.25},
        "seed": 1,
        "scheduler": {"name": "Euler", "settings": settings},
    }
    found = parse_infotext(format_infotext(metadata))
    other = parse_infotext("a\nSteps: 20, Sampler: DDIM, Seed: 1, Eta DDIM: 0.5, Sigma tmax: inf")

    assert ({"name": "Euler", "settings": settings}, 0.25) == (found["scheduler"], found["params"]["eta"])
    assert ({"name": "DDIM", "settings": {}}, 0.5) == (other["scheduler"], other["params"]["eta"])


WORKFLOWS: list[tuple[dict[str, Any], str]] = [
    (
        {"hires": {"upscaler": "latent-nearest", "scale": 1.5, "steps": 9, "strength": 0.7}},
        "Denoising strength: 0.7, Hires upscale: 1.5, Hires steps: 9, Hires upscaler: Latent (nearest)",
    ),
    (
        {"hires": {"upscaler": "4x-mine", "width": 512, "height": 768, "strength": 0.5}},
        "Denoising strength: 0.5, Hires resize: 512x768, Hires upscaler: 4x-mine",
    ),
    (
        {"hires": {"upscaler": "lanczos", "width": 512, "strength": 0.5}},
        "Denoising strength: 0.5, Hires resize: 512x0, Hires upscaler: Lanczos",
    ),
    (
        {"hires": {"upscaler": "lanczos", "height": 512, "strength": 0.5}},
        "Denoising strength: 0.5, Hires resize: 0x512, Hires upscaler: Lanczos",
    ),
    ({"inpaint": {"padding": 16, "mask_blur": 6}}, "Inpaint area: Only masked, Masked area padding: 16, Mask blur: 6"),
]


@pytest.mark.parametrize(("workflow", "text"), WORKFLOWS)
def test_workflows_in_the_words_of_the_web_ui(workflow: dict[str, Any], text: str) -> None:
    """What the web UI can do too is written as it writes it, and read back."""
    told = {**workflow, **({"inpaint": {**workflow["inpaint"], "area": "masked"}} if "inpaint" in workflow else {})}
    facts = {"params": {"prompt": "a", "num_inference_steps": 20}, "seed": 1, "workflow": told}
    written = format_infotext({**facts, "size": {"width": 999, "height": 999}})

    assert text in written
    assert workflow == parse_infotext(written)["workflow"]
    assert "strength" not in parse_infotext(written)["params"]


def test_a_size_is_that_of_the_first_pass() -> None:
    """Readers multiply it by the enlargement of the second."""
    facts = {"params": {"width": 64, "height": 32}, "size": {"width": 128, "height": 64}}

    assert "Size: 64x32" in format_infotext({**facts, "workflow": {"hires": {"scale": 2}}})
    assert "Size: 128x64" in format_infotext({**facts, "workflow": {"upscale": {"scale": 2}}})


def test_a_variation_is_read_back() -> None:
    """The other seed and how much of it."""
    variation = {"seed": 0, "strength": 0.25}
    text = format_infotext({"params": {"prompt": "a"}, "seed": 1, "variation": variation})

    assert "Variation seed: 0, Variation seed strength: 0.25" in text
    assert variation == parse_infotext(text)["variation"]


def test_noise_and_closed_axes_are_read_back() -> None:
    """In the words of the web UI, which closes both axes."""
    changes = {"noise": {"width": 64, "height": 32, "scale": 0.5}, "seamless": {"axes": "xy"}}
    text = format_infotext({"params": {"prompt": "a", "num_inference_steps": 2}, "seed": 1, **changes})
    one = format_infotext({"params": {"prompt": "a", "num_inference_steps": 2}, "seed": 1, "seamless": {"axes": "x"}})

    assert "Seed resize from: 64x32, Noise multiplier: 0.5, Tiling: True" in text
    assert changes == {name: parse_infotext(text)[name] for name in changes}
    assert {"axes": "x"} == parse_infotext(one)["seamless"]
    assert "Tiling:" not in one


def test_a_refiner_and_two_radii_are_read_back() -> None:
    """In the words of the web UI."""
    workflow = {
        "refiner": {"model": "other", "switch_at": 0.75},
        "inpaint": {"area": "masked", "padding": 4, "mask_blur": [8, 2]},
    }
    text = format_infotext({"params": {"prompt": "a", "num_inference_steps": 2}, "seed": 1, "workflow": workflow})
    read = parse_infotext(text)["workflow"]

    assert "Refiner: other, Refiner switch at: 0.75" in text
    assert "Mask blur x: 8, Mask blur y: 2" in text
    assert workflow["refiner"] == read["refiner"]
    assert {"padding": 4, "mask_blur": [8, 2]} == read["inpaint"]
