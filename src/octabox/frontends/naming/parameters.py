"""Call parameters by the names that clients have for them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from octabox.errors import InvalidParameterError
from octabox.types import Source

#: LocalAI's spellings of call parameters.
ALIASES = {
    "step": "num_inference_steps",
    "steps": "num_inference_steps",
    "cfg_scale": "guidance_scale",
    "file": "image",
    "files": "image",
    "ref_images": "image",
}

#: LocalAI's fields of images: what they hold is one list of images, in this order.
IMAGES = ("file", "files", "ref_images")

#: Media of a form, by call parameter.
Inputs = Mapping[str, tuple[Source, ...]]

_SIZE = re.compile(r"(\d{1,9})[xX](\d{1,9})")


def call_parameters(others: Mapping[str, Any], inputs: Inputs) -> tuple[dict[str, Any], dict[str, str]]:
    """Return call parameters by their own names, and the client's spelling of those that it called otherwise.

    Args:
        others: What the client gave, by its own names.
        inputs: Media that came as files.

    Raises:
        InvalidParameterError: Two of them are the same.
    """
    params: dict[str, Any] = {}
    spelled: dict[str, str] = {}
    for name, value in _one_list(others).items():
        proper = ALIASES.get(name, name)
        if proper in params or proper in inputs:
            other = spelled.get(proper, proper)
            what = f"'{name}' and '{other}' are the same" if name != other else f"'{name}' is given twice"
            raise InvalidParameterError(f"{what}.", hint="Give one of them.", parameter=name)
        params[proper] = value
        if proper != name:
            spelled[proper] = name
    return params, spelled


def _one_list(others: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a client gave, with LocalAI's fields of images as one where there are several; empty ones are none."""
    given = [name for name in IMAGES if others.get(name)]
    found = {name: value for name, value in others.items() if name not in IMAGES or name in given[:1]}
    if len(given) > 1:
        values = (others[name] for name in given)
        found[given[0]] = [each for value in values for each in (value if isinstance(value, list) else [value])]
    return found


def requested_size(size: str | None, params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the wishes that a size means.

    Raises:
        InvalidParameterError: It is none, or the parameters say the same.
    """
    if size is None or size.strip().lower() in ("", "auto"):
        return {}
    match = _SIZE.fullmatch(size.strip())
    if match is None:
        hint = "Give 'WIDTHxHEIGHT' in pixels, such as '512x512', or 'auto'."
        raise InvalidParameterError(f"'size' must be a size, not '{size[:50]}'.", hint=hint, parameter="size")
    both = [name for name in ("width", "height") if name in params]
    if both:
        hint = "Give one of them."
        raise InvalidParameterError(f"'size' and '{both[0]}' say the same.", hint=hint, parameter=both[0])
    return {"width": int(match[1]), "height": int(match[2])}
