"""What a style of SD.Next sets beside its prompts."""

from __future__ import annotations

import pytest

from octabox.prompts.extra import StyleSettings, parse_extra


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", StyleSettings()),
        (" ,\n", StyleSettings()),
        ("steps: 20, cfg_scale: 5", StyleSettings({"num_inference_steps": 20, "guidance_scale": 5.0})),
        (
            "width: 512, sampler: DEIS, steps: 20, cfg_scale: 6.0",
            StyleSettings({"width": 512, "num_inference_steps": 20, "guidance_scale": 6.0}, sampler="DEIS"),
        ),
        (
            'Steps: 9, CFG scale: .5, Size: 512x768, Seed: 7, Sampler: "Euler a"',
            StyleSettings({"num_inference_steps": 9, "guidance_scale": 0.5, "width": 512, "height": 768}, 7, "Euler a"),
        ),
        ("clip_skip: 1, denoising_strength: 0.3", StyleSettings({"clip_skip": 0, "strength": 0.3})),
        ("clip_skip: 2\nsampler: Default, seed: -1,", StyleSettings({"clip_skip": 1})),
        ("refiner_start: 0.8, steps: many", StyleSettings(unused=("refiner_start: 0.8", "steps: many"))),
        ("steps: 4, or so", StyleSettings({"num_inference_steps": 4}, unused=("or so",))),
        ("{'steps': 4}", StyleSettings(unused=("{'steps': 4}",))),
    ],
)
def test_reading(text: str, expected: StyleSettings) -> None:
    """Words with a plain meaning are diffusers' parameters, and what has none is kept as it is written."""
    assert expected == parse_extra(text)
