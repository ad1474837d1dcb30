"""Defaults of fields from an infotext."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from octabox.frontends.http.a1111 import options
from octabox.media.metadata.infotext import CONTENT, CONTENTS, INVERTED, MODE, ONLY_MASKED, split_infotext
from octabox.media.metadata.passes import parse_sides
from octabox.security.nesting import check_text

#: Fields by the names of an infotext; those that a route does not have are a warning, as if a client had sent them.
FIELDS = {
    "Steps": "steps",
    "CFG scale": "cfg_scale",
    "Distilled CFG Scale": "distilled_cfg_scale",
    "Image CFG scale": "image_cfg_scale",
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
    "Hires checkpoint": "hr_checkpoint_name",
    "Hires sampler": "hr_sampler_name",
    "Hires schedule type": "hr_scheduler",
    "Hires CFG Scale": "hr_cfg",
    "Hires Distilled CFG Scale": "hr_distilled_cfg",
    "Refiner": "refiner_checkpoint",
    "Refiner switch at": "refiner_switch_at",
    "Masked area padding": "inpaint_full_res_padding",
    "Mask blur": "mask_blur",
    "Mask blur x": "mask_blur_x",
    "Mask blur y": "mask_blur_y",
    "Eta": "eta",
    "Eta DDIM": "eta",
    "Sigma churn": "s_churn",
    "Sigma tmin": "s_tmin",
    "Sigma tmax": "s_tmax",
    "Sigma noise": "s_noise",
}

#: Fields of both sides by the names of a size.
SIZES = {
    "Size": ("width", "height"),
    "Seed resize from": ("seed_resize_from_w", "seed_resize_from_h"),
    "Hires resize": ("hr_resize_x", "hr_resize_y"),
}

#: Names of which there is a second pass.
HIRES = ("Hires upscale", "Hires resize")

CLIP_SKIP, AREA, VAE, FACES = "Clip skip", "Inpaint area", "VAE", "Face restoration"

#: The name for the layer of the text encoder, and that of SD.Next.
CLIP_SKIPS = (CLIP_SKIP, "CLiP-skip")

#: Names of Forge's VAE and text encoders, which are numbered.
MODULE = re.compile(r"Module \d+")

#: Names that describe what made the image, without a field: a request selects its model itself, as in the web UI.
#: Some are of Forge and SD.Next, and hashes are those of what other names, or tags of the prompt, select.
DESCRIPTIVE = frozenset(
    {
        *("Model", "Model hash", "Pipeline", "Version", "VAE hash", "Lora hashes", "LoRA hashes", "LoRA networks"),
        *("TI hashes", "App", "Parser", "Operations"),
    }
)


def with_infotext(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a request, with those of its infotext that it does not have itself.

    Raises:
        InvalidParameterError: The infotext is longer than any model reads.
    """
    sent = {name: value for name, value in fields.items() if value is not None}
    text = sent.get("infotext")
    if not isinstance(text, str) or not text.strip():
        return sent
    check_text(text, "infotext")
    prompt, negative, pairs = split_infotext(text)
    found: dict[str, Any] = {"prompt": prompt, "negative_prompt": negative}
    found |= {field: pairs[name] for name, field in FIELDS.items() if name in pairs}
    for name, sides in SIZES.items():
        if size := parse_sides(pairs.get(name, "")):
            found |= dict(zip(sides, size.values(), strict=True))
    if any(name in pairs for name in HIRES):
        found["enable_hr"] = True
    if AREA in pairs:
        found["inpaint_full_res"] = pairs[AREA] == ONLY_MASKED
    if pairs.get(CONTENT) in CONTENTS.values():
        found["inpainting_fill"] = [*CONTENTS.values()].index(pairs[CONTENT])
    if MODE in pairs:
        found["inpainting_mask_invert"] = int(pairs[MODE] == INVERTED)
    if FACES in pairs:
        found["restore_faces"] = True
    own = sent.get("override_settings") or {}
    if not isinstance(own, Mapping):
        return {**found, **sent}  # The check of the fields reports it.
    settings = {**_settings(pairs), **own}
    return {**found, **sent, **({"override_settings": settings} if settings else {})}


def _settings(pairs: Mapping[str, str]) -> dict[str, Any]:
    """Return the options in the pairs of an infotext."""
    names = dict.fromkeys(CLIP_SKIPS, "CLIP_stop_at_last_layers") | {FACES: options.RESTORER, VAE: options.VAE}
    settings: dict[str, Any] = {option: pairs[name] for name, option in names.items() if name in pairs}
    modules = [value for name, value in pairs.items() if MODULE.fullmatch(name)]
    return {**settings, **({options.MODULES: modules} if modules else {})}


def infotext_warnings(text: str | None) -> Iterator[str]:
    """Yield a warning about the pairs of an infotext that are neither fields nor a description of what made the image."""
    pairs = split_infotext(text or "")[2]
    known = {*FIELDS, *SIZES, *HIRES, *DESCRIPTIVE, *CLIP_SKIPS, AREA, VAE, FACES, MODE}
    known |= {CONTENT} if pairs.get(CONTENT) in CONTENTS.values() else set()
    names = ", ".join(f"'{name}'" for name in pairs if name not in known and not MODULE.fullmatch(name))
    if names:
        yield f"In 'infotext', {names} {'have' if ', ' in names else 'has'} no effect."
