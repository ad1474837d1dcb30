"""Forms with files, in which each file is for the call parameter that it is named after."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request

from octabox.errors import InvalidParameterError
from octabox.frontends.http.bodies import is_form, read_json, read_object, read_parts
from octabox.frontends.http.native.schema import NativeRequest, from_fields
from octabox.frontends.naming.aliases import STRUCTURED
from octabox.frontends.naming.json_values import parse_json_or_text
from octabox.types import Source

#: The part that holds the whole request as JSON.
REQUEST = "request"

#: Fields whose text is JSON.
SHAPED = ("params", "output", *STRUCTURED)

#: What a body might have been.
EXAMPLE = '{"model": "demo", "params": {"prompt": "..."}}'

#: Media of a request by call parameter.
Inputs = dict[str, tuple[Source, ...]]


async def read_request(request: Request, most_bytes: int) -> tuple[NativeRequest, Inputs]:
    """Return a request, as JSON or as a form, and the files that came with it.

    Raises:
        RequestError: It cannot be read, or a field is unknown or has a wrong value.
    """
    if not is_form(request):
        return from_fields(await read_json(request, EXAMPLE)), {}
    texts: dict[str, str] = {}
    files: dict[str, list[Source]] = {}
    for name, value in await read_parts(request, most_bytes):
        if name == REQUEST or isinstance(value, str):
            if name in texts:
                raise InvalidParameterError(f"'{name}' is given twice.", parameter=name)
            # Some clients send JSON as a file, which is the only way they have to name its media type.
            texts[name] = value if isinstance(value, str) else value.decode("utf-8", "surrogateescape")
        else:
            files.setdefault(name.removesuffix("[]"), []).append(value)
    body = _whole(texts)
    twice = sorted(set(body.params) & set(files))
    if twice:
        hint = "Give one of them."
        raise InvalidParameterError(f"'{twice[0]}' is a file and in 'params'.", hint=hint, parameter=twice[0])
    return body, {name: tuple(sources) for name, sources in files.items()}


def _whole(texts: dict[str, str]) -> NativeRequest:
    """Return the request that the fields of a form mean."""
    fields: dict[str, Any] = {
        name: parse_json_or_text(text) if name in SHAPED else text
        for name, text in texts.items()
        if text and name != REQUEST
    }
    if REQUEST not in texts:
        return from_fields(fields)
    if fields:
        hint = "Put everything into one, or leave it out."
        raise InvalidParameterError(f"'{REQUEST}' and '{next(iter(fields))}' are given.", hint=hint, parameter=REQUEST)
    return from_fields(read_object(texts[REQUEST].encode("utf-8", "surrogateescape"), EXAMPLE))
