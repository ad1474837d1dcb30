"""Call parameters by the names that clients use for them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from octabox.catalog.entries import PipelineEntry
from octabox.errors import InvalidParameterError
from octabox.types import Source

#: Short names of call parameters, such as LocalAI's.
ALIASES = {
    "step": "num_inference_steps",
    "steps": "num_inference_steps",
    "cfg": "guidance_scale",
    "cfg_scale": "guidance_scale",
    "negative": "negative_prompt",
    "file": "image",
    "files": "image",
    "ref_images": "image",
}

#: Short names of other fields of a request.
REQUEST_ALIASES = {"count": "num_outputs", "sampler": "scheduler"}

#: LocalAI's fields for images. Their values are merged into one list, in this order.
IMAGES = ("file", "files", "ref_images")

#: Media of a request, by call parameter.
Inputs = Mapping[str, tuple[Source, ...]]

_SIZE = re.compile(r"(\d{1,9})[xX](\d{1,9})")


def call_parameters(
    fields: Mapping[str, Any], inputs: Inputs, entry: PipelineEntry | None = None
) -> tuple[dict[str, Any], dict[str, str]]:
    """Return call parameters by diffusers' names, and the client's names of those that differ.

    Args:
        fields: Values by the client's names.
        inputs: Media that were sent as files.
        entry: The pipeline, whose own parameters take precedence over short names; None if it is not known.

    Raises:
        InvalidParameterError: Two fields are the same parameter.
    """
    params: dict[str, Any] = {}
    client_names: dict[str, str] = {}
    for name, value in merge_images(fields).items():
        is_own = entry is not None and entry.parameter(name) is not None
        parameter = name if is_own else ALIASES.get(name, name)
        if parameter in params or parameter in inputs:
            other = client_names.get(parameter, parameter)
            what = f"'{name}' and '{other}' are the same parameter" if name != other else f"'{name}' is given twice"
            raise InvalidParameterError(f"{what}.", hint="Send one of them.", parameter=name)
        params[parameter] = value
        if parameter != name:
            client_names[parameter] = name
    return params, client_names


def merge_images(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields with LocalAI's image fields merged into the first that is not empty."""
    present = [name for name in IMAGES if fields.get(name)]
    merged = {name: value for name, value in fields.items() if name not in IMAGES or name in present[:1]}
    if len(present) > 1:
        values = (fields[name] for name in present)
        merged[present[0]] = [each for value in values for each in (value if isinstance(value, list) else [value])]
    return merged


def requested_size(size: str | None, params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the width and height of a ``WIDTHxHEIGHT`` text; nothing for ``auto``.

    Raises:
        InvalidParameterError: The text is not a size, or the parameters set the width or height too.
    """
    if size is None or size.strip().lower() in ("", "auto"):
        return {}
    match = _SIZE.fullmatch(size.strip())
    if match is None:
        hint = "Send 'WIDTHxHEIGHT' in pixels, such as '512x512', or 'auto'."
        raise InvalidParameterError(f"'size' must be a size, not '{size[:50]}'.", hint=hint, parameter="size")
    duplicates = [name for name in ("width", "height") if name in params]
    if duplicates:
        message = f"'size' and '{duplicates[0]}' set the same value."
        raise InvalidParameterError(message, hint="Send one of them.", parameter=duplicates[0])
    return {"width": int(match[1]), "height": int(match[2])}
