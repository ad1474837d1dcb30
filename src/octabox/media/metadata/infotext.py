"""Format and parse generation metadata as infotext, the text format of the AUTOMATIC1111 web UI."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from octabox.media.metadata.passes import (
    AUTOMATIC,
    GUIDANCE_KEYS,
    Pairs,
    guidance_pairs,
    parse_guidance,
    parse_second_pass,
    parse_sides,
    prompt_text,
    second_pass_pairs,
    sides_text,
    to_number,
)

#: A pair in the last line; a line with fewer pairs than the minimum is part of the prompt.
#: It begins where no character of a name precedes it, so that each run of those is read once.
PAIR = re.compile(r'(?<![\w \-/])[ \-/]*(\w[\w \-/]+):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)')
MIN_PAIRS = 3

#: Prefix of the negative prompt.
NEGATIVE = "Negative prompt:"

#: Keys and types of call parameters.
PARAMETER_KEYS: dict[str, tuple[str, type[int | float]]] = {
    "num_inference_steps": ("Steps", int),
    "image_guidance_scale": ("Image CFG scale", float),
    "strength": ("Denoising strength", float),
}

#: Keys for the values that the steps of a scheduler take.
STEP_KEYS = {
    "eta": "Eta",
    "s_churn": "Sigma churn",
    "s_tmin": "Sigma tmin",
    "s_tmax": "Sigma tmax",
    "s_noise": "Sigma noise",
}

#: The value among them that is a call parameter, and its keys in the web UI: DDIM has another one.
ETA, ETA_KEYS = "eta", ("Eta DDIM", STEP_KEYS["eta"])

#: Key of the web UI for the layer of the text encoder that is used, counted from the end, and its name in metadata. How many
#: layers that skips depends on the pipeline: some use the layer before the last by default.
LAYER_KEY, LAYER = "Clip skip", "clip_layer"

#: Names of the upscalers in the web UI.
UPSCALERS = {
    "latent": "Latent",
    "latent-bicubic": "Latent (bicubic)",
    "latent-nearest": "Latent (nearest)",
    "lanczos": "Lanczos",
    "nearest": "Nearest",
}

#: Axes that the web UI closes.
BOTH_AXES = "xy"

#: Keys for the radii of a mask's blur that differ, across and down.
MASK_BLURS = ("Mask blur x", "Mask blur y")

#: Names of the web UI of what is under the mask, and the key and the value for all but the mask.
CONTENTS = {
    "surroundings": "fill",
    "original": "original",
    "latent-noise": "latent noise",
    "latent-blank": "latent nothing",
}
CONTENT, MODE, INVERTED = "Masked content", "Mask mode", "Inpaint not masked"

#: Value of the web UI for inpainting of the masked area alone.
ONLY_MASKED = "Only masked"


def format_infotext(metadata: Mapping[str, Any], extra: Mapping[str, Any] = MappingProxyType({})) -> str:
    """Format metadata as infotext.

    That is the prompt, a line with the negative prompt if there is one, and a line of ``Name: value`` pairs, separated by
    commas. A value with a comma, a colon or a line break is quoted. Pairs of Octabox follow those of the web UI.

    Args:
        metadata: The metadata.
        extra: Other pairs, which precede the version.
    """
    params, scheduler = metadata.get("params", {}), metadata.get("scheduler") or {}
    workflow = metadata.get("workflow") or {}
    lines = [prompt_text(params.get("prompt", ""))]
    if negative := params.get("negative_prompt"):
        lines.append(f"Negative prompt: {prompt_text(negative)}")
    pairs = {
        "Steps": params.get("num_inference_steps"),
        "Sampler": scheduler.get("name"),
        "Schedule type": scheduler.get("schedule"),
        **guidance_pairs(params),
        "Image CFG scale": params.get("image_guidance_scale"),
        "Seed": metadata.get("seed"),
        "Size": _size(params if "hires" in workflow else metadata.get("size") or params),
        "Model": metadata.get("model"),
        "Denoising strength": params.get("strength"),
        **_step_pairs(params, scheduler),
        **_workflow_pairs(workflow | {"variation": metadata.get("variation") or {}}),
        **_change_pairs(metadata),
        LAYER_KEY: metadata.get(LAYER),
        "Pipeline": metadata.get("pipeline"),
        **extra,
        "Version": f"octabox {metadata['version']}" if "version" in metadata else None,
    }
    lines.append(", ".join(f"{name}: {_quoted(value)}" for name, value in pairs.items() if value is not None))
    return "\n".join(lines)


def _step_pairs(params: Mapping[str, Any], scheduler: Mapping[str, Any]) -> dict[str, Any]:
    """Return the pairs for the values that the steps of a scheduler take."""
    settings = {**(scheduler.get("settings") or {}), **{name: params[name] for name in (ETA,) if name in params}}
    return {key: settings.get(name) for name, key in STEP_KEYS.items()}


def _change_pairs(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return the pairs for the initial noise and the closed axes of an image."""
    noise, seamless = metadata.get("noise") or {}, metadata.get("seamless") or {}
    scale = noise.get("scale", 1)
    return {
        "Seed resize from": _size(noise),
        "Noise multiplier": None if scale == 1 else scale,
        "Tiling": True if seamless.get("axes") == BOTH_AXES else None,
        "Tiling axes": seamless.get("axes") if seamless.get("axes") != BOTH_AXES else None,
    }


def _parse_changes(pairs: Mapping[str, str]) -> dict[str, Any]:
    """Return the initial noise and the closed axes in the pairs of an infotext."""
    scale = to_number(pairs.get("Noise multiplier"), float)
    noise = parse_sides(pairs.get("Seed resize from", "")) | ({} if scale is None else {"scale": scale})
    axes = pairs.get("Tiling axes") or (BOTH_AXES if pairs.get("Tiling") == str(True) else None)
    return ({"noise": noise} if noise else {}) | ({"seamless": {"axes": axes}} if axes else {})


def _workflow_pairs(workflow: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the pairs for the workflow steps that the web UI supports."""
    pairs: dict[str, Any] = {}
    if variation := workflow.get("variation"):
        pairs |= {"Variation seed": variation["seed"], "Variation seed strength": variation["strength"]}
    if hires := workflow.get("hires"):
        upscaler = hires.get("upscaler", "")
        pairs |= {
            "Denoising strength": hires.get("strength"),
            "Hires upscale": hires.get("scale"),
            "Hires resize": sides_text(hires),
            "Hires steps": hires.get("steps"),
            "Hires upscaler": UPSCALERS.get(upscaler, upscaler),
            **second_pass_pairs(hires),
        }
    if refiner := workflow.get("refiner"):
        pairs |= {"Refiner": refiner.get("model"), "Refiner switch at": refiner.get("switch_at")}
    if (inpaint := workflow.get("inpaint")) and inpaint.get("area") == "masked":
        pairs |= {"Inpaint area": ONLY_MASKED, "Masked area padding": inpaint.get("padding")}
    if (faces := workflow.get("faces")) and faces.get("model"):
        pairs["Face restoration"] = faces["model"]
    if inpaint:
        blur = inpaint.get("mask_blur")
        radii = dict(zip(MASK_BLURS, blur, strict=True)) if isinstance(blur, list) else {"Mask blur": blur}
        fill = inpaint.get("fill", "original")
        content = {CONTENT: None if fill == "original" else CONTENTS.get(fill, fill)}
        pairs |= {**radii, **content, MODE: INVERTED if inpaint.get("invert") else None}
    return pairs


def _size(sides: Mapping[str, Any]) -> str | None:
    width, height = sides.get("width"), sides.get("height")
    return f"{width}x{height}" if width and height else None


def _quoted(value: Any) -> str:
    text = str(value)
    return json.dumps(text, ensure_ascii=False) if set(text) & set(',:\n"') else text


def split_infotext(text: str) -> tuple[str, str, dict[str, str]]:
    """Return the prompt, the negative prompt and the pairs of an infotext."""
    *lines, last = text.strip().split("\n")
    pairs = {name.strip(): _unquoted(value) for name, value in PAIR.findall(last)}
    if len(pairs) < MIN_PAIRS:
        lines, pairs = [*lines, last], {}
    start = next((index for index, line in enumerate(lines) if line.startswith(NEGATIVE)), len(lines))
    negative = "\n".join(lines[start:]).removeprefix(NEGATIVE).strip()
    return "\n".join(lines[:start]).strip(), negative, pairs


def parse_infotext(text: str) -> dict[str, Any]:
    """Parse infotext into metadata."""
    prompt, negative, pairs = split_infotext(text)
    return _parse(prompt, negative, pairs)


def read_pairs(text: str) -> tuple[dict[str, Any], list[str]]:
    """Return the metadata of an infotext, and the keys of its pairs that are not in it; both empty if it has no pairs."""
    prompt, negative, found = split_infotext(text)
    pairs = Pairs(found)
    return (_parse(prompt, negative, pairs), pairs.unused) if found else ({}, [])


def _parse(prompt: str, negative: str, pairs: Mapping[str, str]) -> dict[str, Any]:
    """Return the metadata of the parts of an infotext."""
    params: dict[str, Any] = {"prompt": prompt}
    if negative:
        params["negative_prompt"] = negative
    metadata: dict[str, Any] = {"params": params | _params(pairs), "prompt_syntax": "a1111"}
    if (seed := to_number(pairs.get("Seed"), int)) is not None:
        metadata["seed"] = seed
    if model := pairs.get("Model"):
        metadata["model"] = model
    if (layer := to_number(pairs.get(LAYER_KEY), int)) is not None:
        metadata[LAYER] = layer
    if workflow := _workflow(pairs):
        metadata["workflow"] = workflow
    if "hires" in workflow:
        # The web UI has a single strength, which is that of the second pass.
        metadata["params"].pop("strength", None)
    if (other := to_number(pairs.get("Variation seed"), int)) is not None:
        metadata["variation"] = {
            "seed": other,
            "strength": to_number(pairs.get("Variation seed strength"), float) or 0.0,
        }
    metadata |= _parse_changes(pairs)
    names = [pairs.get(name, AUTOMATIC) for name in ("Sampler", "Schedule type")]
    if sampler := " ".join(name for name in names if name != AUTOMATIC):
        metadata["scheduler"] = {"name": sampler, "settings": _step_settings(pairs)}
    return metadata


def _step_settings(pairs: Mapping[str, str]) -> dict[str, float]:
    """Return the values in the pairs of an infotext that the steps of its scheduler take."""
    found = {name: to_number(pairs.get(key), float) for name, key in STEP_KEYS.items() if name != ETA}
    # Infinity is the default of the web UI for one of them.
    return {name: number for name, number in found.items() if number is not None and math.isfinite(number)}


def _workflow(pairs: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Return the workflow steps in the pairs of an infotext."""
    found: dict[str, dict[str, Any]] = {}
    if "Hires upscale" in pairs or "Hires resize" in pairs:
        names = {shown: name for name, shown in UPSCALERS.items()}
        upscaler = pairs.get("Hires upscaler")
        found["hires"] = {
            "scale": to_number(pairs.get("Hires upscale"), float),
            **{side: length for side, length in parse_sides(pairs.get("Hires resize", "")).items() if length},
            "steps": to_number(pairs.get("Hires steps"), int),
            "strength": to_number(pairs.get("Denoising strength"), float),
            "upscaler": names.get(upscaler, upscaler) if upscaler else None,
            **parse_second_pass(pairs),
        }
    if model := pairs.get("Refiner"):
        found["refiner"] = {"model": model, "switch_at": to_number(pairs.get("Refiner switch at"), float)}
    if pairs.get("Inpaint area") == ONLY_MASKED:
        padding, blur = (to_number(pairs.get(name), int) for name in ("Masked area padding", "Mask blur"))
        radii = [to_number(pairs.get(name), int) for name in MASK_BLURS]
        fills = {shown: name for name, shown in CONTENTS.items()}
        found["inpaint"] = {
            "padding": padding,
            "mask_blur": blur if None in radii else radii,
            "fill": fills.get(pairs[CONTENT], pairs[CONTENT]) if CONTENT in pairs else None,
            "invert": True if pairs.get(MODE) == INVERTED else None,
        }
    return {part: {name: each for name, each in step.items() if each is not None} for part, step in found.items()}


def _params(pairs: Mapping[str, str]) -> dict[str, Any]:
    """Return the call parameters in the pairs of an infotext."""
    params: dict[str, Any] = {}
    for name, (key, kind) in PARAMETER_KEYS.items():
        if (number := to_number(pairs.get(key), kind)) is not None:
            params[name] = number
    if (eta := next((to_number(pairs[key], float) for key in ETA_KEYS if key in pairs), None)) is not None:
        params[ETA] = eta
    return params | parse_guidance(pairs, GUIDANCE_KEYS) | parse_sides(pairs.get("Size", ""))


def _unquoted(value: str) -> str:
    try:
        return str(json.loads(value)) if value.startswith('"') else value.strip()
    except ValueError:
        return value
