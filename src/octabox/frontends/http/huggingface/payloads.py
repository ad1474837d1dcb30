"""Bodies of requests: JSON with inputs and parameters, or a file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request

from octabox.errors import InvalidParameterError, RequestError, UnknownParameterError
from octabox.frontends.http.bodies import check_fields, read_json
from octabox.frontends.http.huggingface.schema import InferenceParameters, InferenceRequest
from octabox.frontends.http.multipart import parse_value
from octabox.frontends.naming.video import reference_type
from octabox.types import Kind, Source

#: Example of a body, for hints.
EXAMPLE = '{"inputs": "...", "parameters": {}}'

#: Media types of files that are inputs.
FILE_KINDS: tuple[Kind, ...] = ("image", "video", "audio")

#: Content types of files whose media type is not known; the client sends bytes without one.
BINARY = ("", "application/octet-stream")

#: Beginning of a data URI (RFC 2397): its media type, its parameters, and the comma before its data.
_DATA = r"data:(?:[\w.+-]+/[\w.+-]+)?(?:;\s*[\w.+-]+(?:=(?:\"[^\"]*\"|[^;,\s\"]*))?)*,"

#: Beginning of a file in text: a data URI, a URL, or base64, which is longer without a space than a word of a prompt.
_FILE = re.compile(rf"\s*({_DATA}|https?://\S+\s*$|[\w+/-]{{64}})", re.ASCII | re.IGNORECASE)

_DATA_URI = re.compile(r"\s*data:(\w+)/", re.IGNORECASE)


@dataclass(frozen=True)
class Payload:
    """The inputs and the parameters of a request.

    Args:
        inputs: The prompts, or the files.
        parameters: The parameters.
        media_type: Declared media type of a file, without its subtype; empty if it is not known.
        unused: Fields of the body that have no effect.
    """

    inputs: tuple[Source, ...]
    parameters: InferenceParameters
    media_type: str = ""
    unused: tuple[str, ...] = ()

    @property
    def are_files(self) -> bool:
        """Whether the inputs are files: if the prompt is a parameter, or if they do not look like text."""
        return all(self.inputs) and (self.parameters.prompt is not None or any(map(_is_file, self.inputs)))

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """Possible media types of the files, the most probable first."""
        first = self.inputs[0]
        named = _DATA_URI.match(first[:64]) if isinstance(first, str) else None
        declared = tuple(kind for kind in FILE_KINDS if kind == (named[1].lower() if named else self.media_type))
        return declared or (("video",) if reference_type(first) == "video" else ("image", "audio", "video"))


async def read_payload(request: Request) -> Payload:
    """Return the body of a request. The parameters of a file are those of the query.

    Raises:
        RequestError: The body is neither JSON nor a file, or a field is unknown or has an invalid value.
    """
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    kind = media_type.partition("/")[0]
    query = _read_query(request)
    if media_type in BINARY or kind in FILE_KINDS:
        data = await request.body()
        if not data:
            raise RequestError("The body is empty.", hint=f"Send a file, or JSON such as {EXAMPLE}.")
        return Payload((data,), _parameters(query), kind)
    fields = await read_json(request, EXAMPLE, "application/json, or that of an image, a video or audio")
    unknown = sorted(set(fields) - set(InferenceRequest.model_fields))
    if unknown:
        hint = "Put it into 'parameters'."
        raise UnknownParameterError(f"There is no field '{unknown[0]}'.", hint=hint, parameter=unknown[0])
    parameters = fields.get("parameters")
    if parameters is not None and not isinstance(parameters, Mapping):
        raise InvalidParameterError("'parameters' must be an object.", hint=EXAMPLE, parameter="parameters")
    body = check_fields(InferenceRequest, {**fields, "parameters": {}})
    inputs = body.inputs if isinstance(body.inputs, list) else [body.inputs or ""]
    unused = tuple(f"options.{name}" for name in body.options or {})
    return Payload(tuple(inputs or [""]), _parameters(_merge(query, parameters or {})), unused=unused)


def _read_query(request: Request) -> dict[str, Any]:
    """Return the parameters of the query.

    Raises:
        InvalidParameterError: One is given twice.
    """
    query: dict[str, Any] = {}
    for name, text in request.query_params.multi_items():
        if name in query:
            raise InvalidParameterError(f"'{name}' is given twice.", hint="Send it once.", parameter=name)
        query[name] = parse_value(name, text, InferenceParameters)
    return query


def _merge(query: Mapping[str, Any], parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters of the query and of the body.

    Raises:
        InvalidParameterError: One is in both.
    """
    values = {name: value for name, value in parameters.items() if value is not None or name not in query}
    if twice := [name for name in values if name in query]:
        message = f"'{twice[0]}' is in the query and in 'parameters'."
        raise InvalidParameterError(message, hint="Send it once.", parameter=twice[0])
    return {**query, **values}


def _parameters(fields: Mapping[str, Any]) -> InferenceParameters:
    """Return the parameters of a request, validated."""
    return check_fields(InferenceParameters, fields)


def _is_file(source: Source) -> bool:
    """Return whether an input is a file instead of a prompt."""
    return isinstance(source, bytes) or _FILE.match(source) is not None
