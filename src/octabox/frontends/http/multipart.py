"""Forms with files: their fields, and their media by call parameter."""

from __future__ import annotations

import re
from typing import Any

from pydantic import BaseModel
from starlette.requests import Request

from octabox.errors import InvalidParameterError
from octabox.frontends.http.bodies import read_parts
from octabox.frontends.naming.json_values import parse_json_or_text
from octabox.frontends.naming.parameters import ALIASES
from octabox.types import Source

#: The parameter of an edit's mask.
MASK = "mask_image"

#: The reference of a video: an image or a video.
REFERENCE = "input_reference"

#: Fields whose text is a medium.
MEDIA = ("image", MASK, REFERENCE)

#: How OpenAI's client writes a field of a mapping.
_NESTED = re.compile(r"(\w+)\[(\w+)\]")

_NAMES = {**ALIASES, "mask": MASK}


async def read_fields(
    request: Request, most_bytes: int, shape: type[BaseModel]
) -> tuple[dict[str, Any], dict[str, tuple[Source, ...]]]:
    """Return the fields of a form, which are still to be checked, and its media by call parameter.

    Args:
        request: The request.
        most_bytes: How much to read of one part.
        shape: What is known of the fields.

    Raises:
        RequestError: It is no form, or a field is given twice.
    """
    media: dict[str, list[Source]] = {}
    texts: dict[str, list[str]] = {}
    mappings: dict[str, dict[str, Any]] = {}
    for key, value in await read_parts(request, most_bytes):
        name = key.removesuffix("[]")
        if (nested := _NESTED.fullmatch(key)) and isinstance(value, str):
            mappings.setdefault(nested[1], {})[nested[2]] = parse_json_or_text(value)
        elif isinstance(value, bytes):
            media.setdefault(_NAMES.get(name, name), []).append(value)
        elif _NAMES.get(name, name) in MEDIA:
            if value:
                media.setdefault(_NAMES.get(name, name), []).append(value)
        else:
            texts.setdefault(name, []).append(value)
    fields: dict[str, Any] = dict(mappings)
    for name, values in texts.items():
        if len(values) > 1 and name in shape.model_fields and name not in ("prompt", "negative_prompt"):
            raise InvalidParameterError(f"'{name}' is given twice.", parameter=name)
        if found := [_value(name, text, shape) for text in values if text or name == "prompt"]:
            fields[name] = found[0] if len(values) == 1 else found
    return fields, {name: tuple(sources) for name, sources in media.items()}


def _value(name: str, text: str, shape: type[BaseModel]) -> Any:
    """Return what a field's text means: JSON where it is some, except where text is meant."""
    if name in shape.model_fields:
        return (
            parse_json_or_text(text)
            if name in ("scheduler", "response_format") and text.lstrip().startswith("{")
            else text
        )
    return text if name.startswith(("prompt", "negative_prompt")) else parse_json_or_text(text)
