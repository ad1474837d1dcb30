"""What an image was made from, as the AUTOMATIC1111 web UI writes and reads it: the text that most programs know."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

#: A pair of that text's last line; a line with fewer than so many of them belongs to the prompt.
PAIR, FEWEST_PAIRS = re.compile(r'\s*(\w[\w \-/]+):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)'), 3

#: How that text begins its negative prompt.
NEGATIVE = "Negative prompt:"

#: How the web UI calls the schedule of timesteps that a sampler has by itself.
AUTOMATIC = "Automatic"

#: Call parameters by that text's words, and what kind of number they are.
FROM_WORDS: dict[str, tuple[str, type[int | float]]] = {
    "num_inference_steps": ("Steps", int),
    "guidance_scale": ("CFG scale", float),
    "strength": ("Denoising strength", float),
    "clip_skip": ("Video skip", int),
}


#: How the web UI calls the filters that enlarge.
UPSCALERS = {
    "latent": "Latent",
    "latent-bicubic": "Latent (bicubic)",
    "latent-nearest": "Latent (nearest)",
    "lanczos": "Lanczos",
    "nearest": "Nearest",
}

#: How the web UI says that the masked region alone was painted.
ONLY_MASKED = "Only masked"


def format_infotext(metadata: Mapping[str, Any]) -> str:
    """Return metadata in the form of the AUTOMATIC1111 web UI.

    That is the prompt, a line with the negative prompt if there is one, and a line of ``Name: value`` pairs with commas
    between; a value that holds a comma, a colon or a line break stands in quotes. Ours stand behind its own.
    """
    params, scheduler = metadata.get("params", {}), metadata.get("scheduler") or {}
    workflow = metadata.get("workflow") or {}
    lines = [_text(params.get("prompt", ""))]
    if negative := params.get("negative_prompt"):
        lines.append(f"Negative prompt: {_text(negative)}")
    pairs = {
        "Steps": params.get("num_inference_steps"),
        "Sampler": scheduler.get("name"),
        "Schedule type": scheduler.get("schedule"),
        "CFG scale": params.get("guidance_scale"),
        "Seed": metadata.get("seed"),
        "Size": _size(params if "hires" in workflow else metadata.get("size") or params),
        "Model": metadata.get("model"),
        "Denoising strength": params.get("strength"),
        **_workflow_pairs(workflow | {"variation": metadata.get("variation") or {}}),
        # The web UI counts the layer that it takes, from 1; diffusers those that it leaves out.
        "Video skip": params["clip_skip"] + 1 if isinstance(params.get("clip_skip"), int) else None,
        "Pipeline": metadata.get("pipeline"),
        "Version": f"octabox {metadata['version']}" if "version" in metadata else None,
    }
    lines.append(", ".join(f"{name}: {_quoted(value)}" for name, value in pairs.items() if value is not None))
    return "\n".join(lines)


def _workflow_pairs(workflow: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the pairs for the parts of a workflow that the web UI has too."""
    pairs: dict[str, Any] = {}
    if variation := workflow.get("variation"):
        pairs |= {"Variation seed": variation["seed"], "Variation seed strength": variation["strength"]}
    if hires := workflow.get("hires"):
        upscaler = hires.get("upscaler", "")
        pairs |= {
            "Denoising strength": hires.get("strength"),
            "Hires upscale": hires.get("scale"),
            "Hires resize": _size(hires),
            "Hires steps": hires.get("steps"),
            "Hires upscaler": UPSCALERS.get(upscaler, upscaler),
        }
    if (inpaint := workflow.get("inpaint")) and inpaint.get("area") == "masked":
        pairs |= {"Inpaint area": ONLY_MASKED, "Masked area padding": inpaint.get("padding")}
    if inpaint:
        pairs["Mask blur"] = inpaint.get("mask_blur")
    return pairs


def _text(prompt: Any) -> str:
    return "\n".join(map(str, prompt)) if isinstance(prompt, (list, tuple)) else str(prompt)


def _size(sides: Mapping[str, Any]) -> str | None:
    width, height = sides.get("width"), sides.get("height")
    return f"{width}x{height}" if width and height else None


def _quoted(value: Any) -> str:
    text = str(value)
    return json.dumps(text, ensure_ascii=False) if set(text) & set(',:\n"') else text


def parse_infotext(text: str) -> dict[str, Any]:
    """Return what a text of the AUTOMATIC1111 web UI says, in our words."""
    *lines, last = text.strip().split("\n")
    pairs = {name.strip(): _unquoted(value) for name, value in PAIR.findall(last)}
    if len(pairs) < FEWEST_PAIRS:
        lines, pairs = [*lines, last], {}
    start = next((index for index, line in enumerate(lines) if line.startswith(NEGATIVE)), len(lines))
    params: dict[str, Any] = {"prompt": "\n".join(lines[:start]).strip()}
    if negative := "\n".join(lines[start:]).removeprefix(NEGATIVE).strip():
        params["negative_prompt"] = negative
    facts: dict[str, Any] = {"params": params | _params(pairs), "prompt_syntax": "a1111"}
    if (seed := _number(pairs.get("Seed"), int)) is not None:
        facts["seed"] = seed
    if model := pairs.get("Model"):
        facts["model"] = model
    if workflow := _workflow(pairs):
        facts["workflow"] = workflow
    if "hires" in workflow:
        # The web UI has one strength: that of the second pass.
        facts["params"].pop("strength", None)
    if (other := _number(pairs.get("Variation seed"), int)) is not None:
        facts["variation"] = {"seed": other, "strength": _number(pairs.get("Variation seed strength"), float) or 0.0}
    names = [pairs.get(name, AUTOMATIC) for name in ("Sampler", "Schedule type")]
    if sampler := " ".join(name for name in names if name != AUTOMATIC):
        facts["scheduler"] = {"name": sampler, "settings": {}}
    return facts


def _workflow(pairs: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Return the parts of a workflow that the pairs of that text mean."""
    found: dict[str, dict[str, Any]] = {}
    if "Hires upscale" in pairs or "Hires resize" in pairs:
        names = {shown: name for name, shown in UPSCALERS.items()}
        upscaler = pairs.get("Hires upscaler")
        found["hires"] = {
            "scale": _number(pairs.get("Hires upscale"), float),
            **_sides(pairs.get("Hires resize", "")),
            "steps": _number(pairs.get("Hires steps"), int),
            "strength": _number(pairs.get("Denoising strength"), float),
            "upscaler": names.get(upscaler, upscaler) if upscaler else None,
        }
    if pairs.get("Inpaint area") == ONLY_MASKED:
        padding, blur = (_number(pairs.get(name), int) for name in ("Masked area padding", "Mask blur"))
        found["inpaint"] = {"padding": padding, "mask_blur": blur}
    return {part: {name: each for name, each in told.items() if each is not None} for part, told in found.items()}


def _params(pairs: Mapping[str, str]) -> dict[str, Any]:
    """Return the call parameters that the pairs of that text mean."""
    params: dict[str, Any] = {}
    for name, (word, kind) in FROM_WORDS.items():
        if (number := _number(pairs.get(word), kind)) is not None:
            params[name] = number
    if "clip_skip" in params:
        params["clip_skip"] = max(params["clip_skip"] - 1, 0)
    return params | _sides(pairs.get("Size", ""))


def _sides(text: str) -> dict[str, int]:
    """Return the width and the height that a text such as ``512x768`` means."""
    size = re.fullmatch(r"(\d{1,6})x(\d{1,6})", text)
    return {"width": int(size[1]), "height": int(size[2])} if size else {}


def _number(text: str | None, kind: type[int | float]) -> float | None:
    try:
        return None if text is None else kind(text)
    except ValueError:
        return None


def _unquoted(value: str) -> str:
    try:
        return str(json.loads(value)) if value.startswith('"') else value.strip()
    except ValueError:
        return value
