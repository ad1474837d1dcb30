"""Fields and media of a form, by call parameter."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel
from starlette.requests import Request

from octabox.errors import InvalidParameterError
from octabox.frontends.http.bodies import read_parts
from octabox.frontends.naming.json_values import parse_json_or_text
from octabox.frontends.naming.parameters import ALIASES
from octabox.types import Source

#: Call parameter of a mask.
MASK = "mask_image"

#: Field of a video's reference: an image or a video.
REFERENCE = "input_reference"

#: Fields whose text is a URL or base64 of a medium.
MEDIA = ("image", MASK, REFERENCE)

#: How OpenAI's client encodes a field of an object.
_NESTED = re.compile(r"(\w+)\[(\w+)\]")

_NAMES = {**ALIASES, "mask": MASK}


async def read_fields(
    request: Request, max_bytes: int, model: type[BaseModel]
) -> tuple[dict[str, Any], dict[str, tuple[Source, ...]]]:
    """Return the fields of a form, not yet validated, and its media by call parameter.

    Args:
        request: The request.
        max_bytes: Maximum size of a part.
        model: Fields whose values are text.

    Raises:
        RequestError: The body is not a form, or a field is given twice.
    """
    media, texts, mappings = _sort_parts(await read_parts(request, max_bytes))
    for name in mappings:
        if any(texts.get(name, ())) or _NAMES.get(name, name) in media:
            raise _duplicate(name)
    fields: dict[str, Any] = dict(mappings)
    for name, values in texts.items():
        if len(values) > 1 and name in model.model_fields and name not in ("prompt", "negative_prompt"):
            raise _duplicate(name)
        if parsed := [parse_value(name, text, model) for text in values if text or name == "prompt"]:
            fields[name] = parsed[0] if len(values) == 1 else parsed
    return fields, {name: tuple(sources) for name, sources in media.items()}


def _sort_parts(
    parts: Iterable[tuple[str, Source]],
) -> tuple[dict[str, list[Source]], dict[str, list[str]], dict[str, dict[str, Any]]]:
    """Return the media by call parameter, the texts by field, and the objects that are encoded as ``field[key]``.

    Raises:
        InvalidParameterError: A key of an object is given twice.
    """
    media: dict[str, list[Source]] = {}
    texts: dict[str, list[str]] = {}
    mappings: dict[str, dict[str, Any]] = {}
    for key, value in parts:
        name = key.removesuffix("[]")
        if (nested := _NESTED.fullmatch(key)) and isinstance(value, str):
            mapping = mappings.setdefault(nested[1], {})
            if nested[2] in mapping:
                raise _duplicate(key)
            mapping[nested[2]] = parse_json_or_text(value)
        elif isinstance(value, bytes):
            media.setdefault(_NAMES.get(name, name), []).append(value)
        elif _NAMES.get(name, name) in MEDIA:
            if value:
                media.setdefault(_NAMES.get(name, name), []).append(value)
        else:
            texts.setdefault(name, []).append(value)
    return media, texts, mappings


def _duplicate(name: str) -> InvalidParameterError:
    """Return the error for a field that a form repeats."""
    return InvalidParameterError(f"'{name}' is given twice.", hint="Send it once.", parameter=name)


def parse_value(name: str, text: str, model: type[BaseModel]) -> Any:
    """Return the value of a field: parsed as JSON, unless the field takes text."""
    if name in model.model_fields:
        return (
            parse_json_or_text(text)
            if name in ("scheduler", "response_format") and text.lstrip().startswith("{")
            else text
        )
    return text if name.startswith(("prompt", "negative_prompt")) else parse_json_or_text(text)
