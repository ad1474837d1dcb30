"""Defaults of fields from an infotext."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from octabox.media.metadata.infotext import split_infotext

#: Fields by the names of an infotext.
FIELDS = {
    "Steps": "steps",
    "CFG scale": "cfg_scale",
    "Distilled CFG Scale": "distilled_cfg_scale",
    "Seed": "seed",
    "Sampler": "sampler_name",
    "Schedule type": "scheduler",
    "Denoising strength": "denoising_strength",
    "Variation seed": "subseed",
    "Variation seed strength": "subseed_strength",
    "Tiling": "tiling",
    "Noise multiplier": "initial_noise_multiplier",
    "Hires upscale": "hr_scale",
    "Hires upscaler": "hr_upscaler",
    "Hires steps": "hr_second_pass_steps",
    "Hires prompt": "hr_prompt",
    "Hires negative prompt": "hr_negative_prompt",
}


def with_infotext(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a request, with those of its infotext that it does not have itself."""
    sent = {name: value for name, value in fields.items() if value is not None}
    text = sent.get("infotext")
    if not isinstance(text, str) or not text.strip():
        return sent
    prompt, negative, pairs = split_infotext(text)
    found: dict[str, Any] = {"prompt": prompt, "negative_prompt": negative}
    found |= {field: pairs[name] for name, field in FIELDS.items() if name in pairs}
    width, _, height = pairs.get("Size", "").partition("x")
    if width.isdigit() and height.isdigit():
        found |= {"width": width, "height": height}
    width, _, height = pairs.get("Seed resize from", "").partition("x")
    if width.isdigit() and height.isdigit():
        found |= {"seed_resize_from_w": width, "seed_resize_from_h": height}
    if "Hires upscale" in pairs or "Hires resize" in pairs:
        found["enable_hr"] = True
    settings = dict(sent.get("override_settings") or {})
    if "Clip skip" in pairs:
        settings = {"CLIP_stop_at_last_layers": pairs["Clip skip"], **settings}
    return {**found, **({"override_settings": settings} if settings else {}), **sent}
