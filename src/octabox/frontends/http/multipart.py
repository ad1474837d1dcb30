"""Fields and media of a form, by call parameter."""

from __future__ import annotations

from collections.abc import Iterable
from operator import itemgetter
from typing import Any, get_args, get_origin

from pydantic import BaseModel
from starlette.requests import Request

from octabox.frontends.http.bodies import read_parts
from octabox.frontends.naming.form_keys import Path, build_value, duplicate_error, split_item, split_key
from octabox.frontends.naming.json_values import parse_json_or_text
from octabox.frontends.naming.parameters import ALIASES, IMAGES
from octabox.types import Source

#: Call parameter of a mask.
MASK = "mask_image"

#: Field of a video's reference: an image or a video.
REFERENCE = "input_reference"

#: Fields whose text is a URL or base64 of a medium.
MEDIA = ("image", MASK, REFERENCE)

#: Declared fields whose text may be an object in JSON.
OBJECTS = ("scheduler", "response_format", "adapters")

#: Beginnings of the names of prompts, whose values are text.
PROMPTS = ("prompt", "negative_prompt")

#: Call parameters by the names of fields; ``images`` is the name in OpenAI's JSON bodies.
_NAMES = {**ALIASES, "mask": MASK, "images": "image"}

#: The values of a field, each with the keys behind the field's name.
_Items = list[tuple[Path, str]]


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
    media, texts = _sort_parts(await read_parts(request, max_bytes))
    fields: dict[str, Any] = {}
    for name, items in texts.items():
        if any(map(_is_nested, items)):
            items = [(path, text) for path, text in items if path or text]  # noqa: PLW2901 (an empty input counts as left out)
            if _NAMES.get(name, name) in media:
                raise duplicate_error(name)
            fields[name] = build_value(name, [(path, _parse_part(name, path, text, model)) for path, text in items])
        elif (value := _parse_items(name, items, model)) is not None:
            fields[name] = value
    return fields, media


def _sort_parts(parts: Iterable[tuple[str, Source]]) -> tuple[dict[str, tuple[Source, ...]], dict[str, _Items]]:
    """Return the media by call parameter, and the texts by field.

    The media of a parameter are in the order of the numbers in their keys, such as ``image[1]``, if they have some. Those by
    LocalAI's names are behind those by the parameter's own, in the same order as in JSON.
    """
    media: dict[str, list[tuple[int, int, Source]]] = {}
    texts: dict[str, _Items] = {}
    for number, (key, value) in enumerate(parts):
        field, index = split_item(key)
        parameter = _NAMES.get(field, field)
        if isinstance(value, bytes) or parameter in MEDIA:
            if value or isinstance(value, bytes):
                order = IMAGES.index(field) + 1 if field in IMAGES else 0
                media.setdefault(parameter, []).append((order, number if index is None else index, value))
        else:
            name, path = split_key(key)
            texts.setdefault(name, []).append((path, value))
    return {
        name: tuple(source for *_, source in sorted(found, key=itemgetter(0, 1))) for name, found in media.items()
    }, texts


def _is_nested(item: tuple[Path, str]) -> bool:
    """Return whether a value has a key within its field, other than that of an item of a list."""
    return item[0] not in ((), ("",))


def _parse_items(name: str, items: _Items, model: type[BaseModel]) -> Any:
    """Return the value of a field without keys, or the list of its values; None if it is empty.

    Raises:
        InvalidParameterError: A field that takes no list is given twice.
    """
    texts = [text for _, text in items]
    takes_list = name not in model.model_fields or _takes_list(model, name)
    if len(texts) > 1 and not takes_list:
        raise duplicate_error(name)
    # An empty prompt in a list has its place: there is one negative prompt for each prompt.
    keeps_empty = name == "prompt" or (len(texts) > 1 and name.startswith(PROMPTS) and any(texts))
    values = [parse_value(name, text, model) for text in texts if text or keeps_empty]
    if not values:
        return None
    # OpenAI's client sends a list of one item with brackets.
    return values if len(texts) > 1 or (items[0][0] and takes_list) else values[0]


def _takes_list(model: type[BaseModel], name: str) -> bool:
    """Return whether a declared field may be a list."""
    annotation = model.model_fields[name].annotation
    return any(get_origin(each) is list for each in (annotation, *get_args(annotation)))


def _parse_part(name: str, path: Path, text: str, model: type[BaseModel]) -> Any:
    """Return the value of a part of a list or an object."""
    keys = [key for key in path if key and not key.isdecimal()]
    if not keys:
        return parse_value(name, text, model)
    return text if keys[-1].startswith(PROMPTS) else parse_json_or_text(text)


def parse_value(name: str, text: str, model: type[BaseModel]) -> Any:
    """Return the value of a field: parsed as JSON, unless the field takes text."""
    if name in model.model_fields:
        return parse_json_or_text(text) if name in OBJECTS and text.lstrip().startswith("{") else text
    return text if name.startswith(PROMPTS) else parse_json_or_text(text)
