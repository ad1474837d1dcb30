"""Forms with files, as edits and variations are sent."""

from __future__ import annotations

import json
import re
from typing import Any

from starlette.datastructures import FormData, UploadFile
from starlette.requests import Request

from octabox.errors import InvalidParameterError, RequestError
from octabox.frontends.openai.schema import ImageRequest, from_fields, refuse_constant
from octabox.frontends.openai.translate import SPELLINGS
from octabox.types import Source

#: The parameter of an edit's mask.
MASK = "mask_image"

#: Files and fields of one form.
MOST_FILES, MOST_FIELDS = 64, 500

#: How OpenAI's client writes a field of a mapping.
_NESTED = re.compile(r"(\w+)\[(\w+)\]")

_NAMES = {**SPELLINGS, "mask": MASK}


async def read_form(request: Request, most_bytes: int) -> tuple[ImageRequest, dict[str, tuple[Source, ...]]]:
    """Return the fields of a form, and its media by call parameter.

    Raises:
        RequestError: It is no form, or a field has a wrong value.
    """
    if (
        not request.headers.get("content-type", "")
        .lower()
        .startswith(("multipart/form-data", "application/x-www-form-urlencoded"))
    ):
        raise RequestError("The body must be a form.", hint="Send multipart/form-data, with the image as a file.")
    try:
        limits = {"max_files": MOST_FILES, "max_fields": MOST_FIELDS, "max_part_size": most_bytes}
        async with request.form(**limits) as form:
            return await _parts(form)
    except UnicodeDecodeError as error:
        raise RequestError("The form is not UTF-8.") from error


async def _parts(form: FormData) -> tuple[ImageRequest, dict[str, tuple[Source, ...]]]:
    media: dict[str, list[Source]] = {}
    texts: dict[str, list[str]] = {}
    mappings: dict[str, dict[str, Any]] = {}
    for key, value in form.multi_items():
        name = key.removesuffix("[]")
        if (nested := _NESTED.fullmatch(key)) and isinstance(value, str):
            mappings.setdefault(nested[1], {})[nested[2]] = _json(value)
            continue
        if isinstance(value, UploadFile):
            media.setdefault(_NAMES.get(name, name), []).append(await value.read())
        elif _NAMES.get(name, name) in ("image", MASK):
            if value:
                media.setdefault(_NAMES.get(name, name), []).append(value)
        else:
            texts.setdefault(name, []).append(value)
    fields: dict[str, Any] = dict(mappings)
    for name, values in texts.items():
        if len(values) > 1 and name in ImageRequest.model_fields and name not in ("prompt", "negative_prompt"):
            raise InvalidParameterError(f"'{name}' is given twice.", parameter=name)
        if found := [_value(name, text) for text in values if text or name == "prompt"]:
            fields[name] = found[0] if len(values) == 1 else found
    return from_fields(fields), {name: tuple(sources) for name, sources in media.items()}


def _value(name: str, text: str) -> Any:
    """Return what a field's text means: JSON where it is some, except where text is meant."""
    if name in ImageRequest.model_fields:
        return _json(text) if name in ("scheduler", "response_format") and text.lstrip().startswith("{") else text
    return text if name.startswith(("prompt", "negative_prompt")) else _json(text)


def _json(text: str) -> Any:
    try:
        value = json.loads(text, parse_constant=refuse_constant)
    except (ValueError, RecursionError):
        return text
    return value if isinstance(value, (int, float, list, dict)) else text
