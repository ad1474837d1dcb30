"""Parse the field `extra` of SD.Next styles, which sets call parameters: `steps: 20, cfg_scale: 5`."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

#: One setting: a word, a colon and a value, which is quoted if it contains a comma.
PAIR = re.compile(r'\s*(?P<word>\w[\w \-]*)(?:[^\S ]\s*)?:\s*(?P<value>"[^"]*"|[^,\n]*)\s*(?:,|\n|$)')

#: Patterns of an integer and of a number.
INTEGER, NUMBER = re.compile(r"\d{1,19}"), re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)")

#: Sampler names that select the default scheduler of the model.
DEFAULT_SAMPLERS = ("default", "automatic")


@dataclass(frozen=True)
class StyleSettings:
    """The settings of a style in addition to its prompts.

    Args:
        params: Call parameters by their names in diffusers.
        seed: The seed.
        sampler: Name of the noise scheduler.
        unused: Unsupported settings, as text.
    """

    params: dict[str, Any] = field(default_factory=dict)
    seed: int | None = None
    sampler: str = ""
    unused: tuple[str, ...] = ()


def parse_extra(text: str) -> StyleSettings:
    """Parse the field.

    Words are those of A1111 and SD.Next, in any letter case. A setting with an invalid value is not used.
    """
    params: dict[str, Any] = {}
    seed, sampler, unused, position = None, "", list[str](), 0
    while position < len(text):
        found = PAIR.match(text, position)
        if found is None:
            unused += [rest] if (rest := text[position:].strip(" ,\n")) else []
            break
        position = found.end()
        word = re.sub(r"[ \-]+", "_", found["word"].rstrip().lower())
        value = found["value"].strip().strip('"')
        if word == "seed" and INTEGER.fullmatch(value):
            seed = int(value)
        elif word in ("sampler", "sampler_name") and value:
            sampler = "" if value.lower() in DEFAULT_SAMPLERS else value
        elif known := _params(word, value):
            params |= known
        elif not (word == "seed" and value == "-1"):
            unused.append(f"{found['word'].rstrip()}: {value}")
    return StyleSettings(params, seed, sampler, tuple(unused))


def _params(word: str, value: str) -> dict[str, Any]:
    """Return the call parameters of a setting; empty if it is not supported."""
    if word == "size" and (size := re.fullmatch(r"(\d{1,6})x(\d{1,6})", value)):
        return {"width": int(size[1]), "height": int(size[2])}
    if word not in PARAMETERS:
        return {}
    name, shape, convert = PARAMETERS[word]
    return {name: convert(value)} if shape.fullmatch(value) else {}


def _skipped_layers(value: str) -> int:
    """Return ``clip_skip`` as diffusers counts it: 1 in SD.Next skips no layer."""
    return max(int(value) - 1, 0)


#: Call parameters by their words, with the pattern and the conversion of their values.
PARAMETERS: dict[str, tuple[str, re.Pattern[str], Callable[[str], Any]]] = {
    "steps": ("num_inference_steps", INTEGER, int),
    "cfg_scale": ("guidance_scale", NUMBER, float),
    "width": ("width", INTEGER, int),
    "height": ("height", INTEGER, int),
    "denoising_strength": ("strength", NUMBER, float),
    "clip_skip": ("clip_skip", INTEGER, _skipped_layers),
}
