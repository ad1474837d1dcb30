"""Read what a style of SD.Next says of more than its prompts: `steps: 20, cfg_scale: 5`, as it stands in the field `extra`."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

#: One setting: a word, a colon and a value, in quotes where it has a comma.
PAIR = re.compile(r'\s*(?P<word>\w[\w \-]*?)\s*:\s*(?P<value>"[^"]*"|[^,\n]*)\s*(?:,|\n|$)')

#: What a whole number looks like, and any number.
WHOLE, NUMBER = re.compile(r"\d{1,19}"), re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)")

#: How a sampler is called that is the model's own.
DEFAULT_SAMPLERS = ("default", "automatic")


@dataclass(frozen=True)
class StyleSettings:
    """What a style sets beside its prompts.

    Args:
        params: Call parameters by diffusers' names.
        seed: The seed.
        sampler: Name of the noise scheduler.
        unused: What has no plain meaning here, as it is written.
    """

    params: dict[str, Any] = field(default_factory=dict)
    seed: int | None = None
    sampler: str = ""
    unused: tuple[str, ...] = ()


def parse_extra(text: str) -> StyleSettings:
    """Return what the field says.

    Words are read without regard to letter case, as A1111 and SD.Next write them, and a value that does not fit its word is
    not used.
    """
    params: dict[str, Any] = {}
    seed, sampler, unused, place = None, "", list[str](), 0
    while place < len(text):
        found = PAIR.match(text, place)
        if found is None:
            unused += [rest] if (rest := text[place:].strip(" ,\n")) else []
            break
        place = found.end()
        word = re.sub(r"[ \-]+", "_", found["word"].lower())
        value = found["value"].strip().strip('"')
        if word == "seed" and WHOLE.fullmatch(value):
            seed = int(value)
        elif word in ("sampler", "sampler_name") and value:
            sampler = "" if value.lower() in DEFAULT_SAMPLERS else value
        elif meant := _params(word, value):
            params |= meant
        elif not (word == "seed" and value == "-1"):
            unused.append(f"{found['word']}: {value}")
    return StyleSettings(params, seed, sampler, tuple(unused))


def _params(word: str, value: str) -> dict[str, Any]:
    """Return the call parameters that a setting means; none where its meaning is not plain."""
    if word == "size" and (size := re.fullmatch(r"(\d{1,6})x(\d{1,6})", value)):
        return {"width": int(size[1]), "height": int(size[2])}
    if word not in MEANINGS:
        return {}
    name, shape, convert = MEANINGS[word]
    return {name: convert(value)} if shape.fullmatch(value) else {}


def _skipped(value: str) -> int:
    """Return diffusers' count of skipped layers: where SD.Next says 1, none is left out."""
    return max(int(value) - 1, 0)


#: Call parameters by the words for them, with what their values look like and what is made of them.
MEANINGS: dict[str, tuple[str, re.Pattern[str], Callable[[str], Any]]] = {
    "steps": ("num_inference_steps", WHOLE, int),
    "cfg_scale": ("guidance_scale", NUMBER, float),
    "width": ("width", WHOLE, int),
    "height": ("height", WHOLE, int),
    "denoising_strength": ("strength", NUMBER, float),
    "clip_skip": ("clip_skip", WHOLE, _skipped),
}
