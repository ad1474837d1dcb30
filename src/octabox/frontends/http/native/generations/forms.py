"""JSON bodies, and forms in which each file has the name of its call parameter."""

from __future__ import annotations

from operator import itemgetter
from typing import Any

from starlette.requests import Request

from octabox.errors import InvalidParameterError
from octabox.frontends.http.bodies import is_form, read_json, read_object, read_parts
from octabox.frontends.http.native.generations.schema import NativeRequest, parse_fields
from octabox.frontends.naming.aliases import STRUCTURED
from octabox.frontends.naming.form_keys import split_item
from octabox.frontends.naming.json_values import parse_json_or_text
from octabox.types import Source

#: The part with all fields of the request as JSON.
REQUEST = "request"

#: Fields whose text is JSON.
JSON_FIELDS = ("params", "output", *STRUCTURED)

#: Example of a body, for hints.
EXAMPLE = '{"model": "demo", "params": {"prompt": "..."}}'

#: Media of a request, by call parameter.
Inputs = dict[str, tuple[Source, ...]]


async def read_request(request: Request, max_bytes: int) -> tuple[NativeRequest, Inputs]:
    """Return the body of a request, which is JSON or a form, and the files of the form.

    Raises:
        RequestError: The body cannot be parsed, or a field is unknown or has an invalid value.
    """
    if not is_form(request):
        return parse_fields(await read_json(request, EXAMPLE)), {}
    texts: dict[str, str] = {}
    files: dict[str, list[tuple[int, bytes]]] = {}
    for number, (name, value) in enumerate(await read_parts(request, max_bytes)):
        if name == REQUEST or isinstance(value, str):
            if name in texts:
                raise InvalidParameterError(f"'{name}' is given twice.", parameter=name)
            # Some clients can set the media type of a part only if it is a file, and send JSON as one.
            texts[name] = value if isinstance(value, str) else value.decode("utf-8", "surrogateescape")
        else:
            field, index = split_item(name)
            files.setdefault(field, []).append((number if index is None else index, value))
    body = _parse_texts(texts)
    duplicates = sorted(set(body.params) & set(files))
    if duplicates:
        message = f"'{duplicates[0]}' is a file and in 'params'."
        raise InvalidParameterError(message, hint="Send one of them.", parameter=duplicates[0])
    return body, {name: tuple(file for _, file in sorted(found, key=itemgetter(0))) for name, found in files.items()}


def _parse_texts(texts: dict[str, str]) -> NativeRequest:
    """Return the body that the text fields of a form make."""
    fields: dict[str, Any] = {
        name: parse_json_or_text(text) if name in JSON_FIELDS else text
        for name, text in texts.items()
        if text and name != REQUEST
    }
    if REQUEST not in texts:
        return parse_fields(fields)
    if fields:
        message = f"'{REQUEST}' and '{next(iter(fields))}' are both given."
        hint = f"Put all fields into '{REQUEST}', or leave it out."
        raise InvalidParameterError(message, hint=hint, parameter=REQUEST)
    return parse_fields(read_object(texts[REQUEST].encode("utf-8", "surrogateescape"), EXAMPLE))
