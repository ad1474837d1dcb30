"""Describe and parse request bodies: JSON, and forms with files."""

from __future__ import annotations

import asyncio
import functools
import json
import json.decoder
import json.scanner
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from octabox.config.problems import describe_expected
from octabox.errors import (
    InvalidParameterError,
    InvalidRequestError,
    MediaTypeError,
    MissingParameterError,
    RequestError,
)
from octabox.frontends.naming.json_values import refuse_constant
from octabox.security.nesting import MAX_VALUES, check_nesting
from octabox.types import Source

Body = TypeVar("Body", bound=BaseModel)

#: Maximum number of files and of fields in a form.
MAX_FILES, MAX_FIELDS = 64, 500

#: Prefixes of the content types of forms.
FORM_TYPES = ("multipart/form-data", "application/x-www-form-urlencoded")

#: A form with files.
MULTIPART = FORM_TYPES[0]

#: Parameter of a file's name in another encoding, and content types of fields: parts of other types are files.
FILENAME, TEXT_TYPES = re.compile(rb";\s*filename\*\s*=", re.IGNORECASE), (b"text/", b"application/json")

#: Bytes of a body from which on it is parsed in a thread.
LARGE_BODY = 64 * 1024


@functools.cache
def body_description(schema: Callable[[], dict[str, Any]], *media_types: str) -> dict[str, Any]:
    """Return the OpenAPI description of a body that FastAPI does not parse, for ``openapi_extra`` of its route.

    Args:
        schema: Returns the JSON Schema of the body. A schema takes long to make, so each is made once.
        *media_types: Content types of the body.
    """
    made = schema()
    return {"requestBody": {"required": True, "content": {each: {"schema": made} for each in media_types}}}


#: Values of a body from which on it is parsed by a decoder that does not keep other threads from running.
MANY_VALUES = 10_000

#: An escaped surrogate, which is one half of a pair.
SURROGATE = re.compile(rb"\\u[dD][89abcdefABCDEF]")

#: Example of a body, for hints.
EXAMPLE = '{"prompt": "..."}'


class _ResponsiveDecoder(json.JSONDecoder):
    """Decoder in Python: that in C holds the GIL until it has parsed a body, so that no other request is served."""

    def __init__(self, *, parse_constant: Callable[[str], Any]) -> None:
        super().__init__(parse_constant=parse_constant)
        self.parse_array = json.decoder.JSONArray  # type: ignore[attr-defined] # it has no type
        self.scan_once = json.scanner.py_make_scanner(self)  # type: ignore[attr-defined]


async def read_json(
    request: Request, example: str = EXAMPLE, accepted: str = "application/json", list_field: str | None = None
) -> dict[str, Any]:
    """Return the JSON object in a request's body.

    The content type must be that of JSON: browsers send text and forms from other sites' pages without a preflight request,
    so that accepting those as JSON would allow every page to use the server.

    Args:
        request: The request.
        example: Example of a body, for the hint of an error.
        accepted: Content types that the route accepts, for the error of another one.
        list_field: Field whose value a list is, which is sent in place of an object; None accepts objects alone.

    Raises:
        MediaTypeError: The content type is not that of JSON.
        RequestError: The body is not a JSON object.
    """
    check_json_type(request, accepted)
    data = await request.body()
    if len(data) > LARGE_BODY:
        return await asyncio.to_thread(read_object, data, example, list_field)
    return read_object(data, example, list_field)


def check_json_type(request: Request, accepted: str = "application/json") -> None:
    """Check that the content type of a request is that of JSON.

    Raises:
        MediaTypeError: It is another one.
    """
    header = request.headers.get("content-type", "")
    media_type = header.partition(";")[0].strip().lower()
    if media_type != "application/json" and not (
        media_type.startswith("application/") and media_type.endswith("+json")
    ):
        what = f"not '{header[:100]}'" if header else "and the request has none"
        raise MediaTypeError(
            f"The content type must be {accepted}, {what}.", hint="Send 'Content-Type: application/json'."
        )


def read_object(data: bytes, example: str = EXAMPLE, list_field: str | None = None) -> dict[str, Any]:
    """Return a JSON object.

    Args:
        data: The encoded object.
        example: Example of a body, for the hint of an error.
        list_field: Field whose value a list is, which is sent in place of an object; None accepts objects alone.

    Raises:
        RequestError: The data is not a JSON object, or has too many values.
    """
    count = sum(map(data.count, (b",", b"[", b"{")))
    if count > MAX_VALUES:
        # Parsing more takes seconds.
        raise RequestError(f"The body has more than {MAX_VALUES} values.", hint="Send arrays as files of NumPy (.npy).")
    try:
        decoder = _ResponsiveDecoder if count > MANY_VALUES else json.JSONDecoder
        fields = decoder(parse_constant=refuse_constant).decode(data.decode("utf-8"))
        if SURROGATE.search(data):
            # An unpaired surrogate can be escaped in JSON, but cannot be encoded later.
            for part in json.JSONEncoder(ensure_ascii=False).iterencode(fields):
                part.encode("utf-8")
    except UnicodeError as error:
        raise RequestError("The body is not UTF-8.", hint="Send JSON in UTF-8.") from error
    except (ValueError, RecursionError) as error:
        raise RequestError(
            f"The body is not valid JSON: {error}.", hint=f"Send an object, such as {example}."
        ) from error
    if list_field is not None and isinstance(fields, list):
        fields = {list_field: fields}
    if not isinstance(fields, dict):
        raise RequestError("The body must be a JSON object.", hint=f"Such as {example}.")
    for name, value in fields.items():
        check_nesting(value, name)
    return fields


def check_fields(model: type[Body], fields: Mapping[str, Any], prefix: str = "") -> Body:
    """Return the fields of a request as a pydantic model.

    Args:
        model: The model.
        fields: The fields.
        prefix: Prefix of their names in errors, for the fields of a nested object.

    Raises:
        InvalidParameterError: A field has an invalid value.
        MissingParameterError: A required field is missing.
        InvalidRequestError: Both, or several fields.
    """
    try:
        return model.model_validate(dict(fields))
    except ValidationError as error:
        problems: dict[str, RequestError] = {}
        for details in error.errors():
            name = f"{prefix}{details['loc'][0]}"
            problems.setdefault(name, _problem(name, details))
        if len(problems) == 1:
            raise next(iter(problems.values())) from None
        raise InvalidRequestError(list(problems.values())) from None


def _problem(name: str, details: ErrorDetails) -> RequestError:
    """Return the error of a field that is missing or has an invalid value."""
    if details["type"] != "missing":
        return InvalidParameterError(f"'{name}' {describe_expected(details)}.", parameter=name)
    if len(details["loc"]) > 1:
        return InvalidParameterError(f"'{name}' has no '{details['loc'][-1]}'.", parameter=name)
    return MissingParameterError(f"'{name}' is missing.", parameter=name)


def is_form(request: Request) -> bool:
    """Return whether a request's body is a form."""
    return request.headers.get("content-type", "").lower().startswith(FORM_TYPES)


class _FormParser(MultiPartParser):
    """Parser of forms that recognizes files without ``filename``, by ``filename*`` or by their content type."""

    def on_headers_finished(self) -> None:
        """Start a part, as a file if it is one."""
        part = self._current_part
        disposition = part.content_disposition or b""
        types = [value.strip().lower() for name, value in part.item_headers if name == b"content-type"]
        is_binary = any(each and not each.startswith(TEXT_TYPES) for each in types)
        if (is_binary or FILENAME.search(disposition)) and b"filename=" not in disposition.lower():
            part.content_disposition = disposition + b'; filename=""'
        super().on_headers_finished()


async def read_parts(request: Request, max_bytes: int) -> list[tuple[str, Source]]:
    """Return the parts of a form: fields as text, files as bytes.

    Raises:
        RequestError: The body is not a form.
    """
    if not is_form(request):
        raise RequestError("The body must be a form.", hint="Send multipart/form-data, with the image as a file.")
    limits: dict[str, Any] = {"max_files": MAX_FILES, "max_fields": MAX_FIELDS, "max_part_size": max_bytes}
    try:
        if request.headers["content-type"].lower().startswith(MULTIPART):
            form = await _FormParser(request.headers, request.stream(), **limits).parse()
        else:
            form = await request.form(**limits)
        try:
            return [
                (key, await value.read() if isinstance(value, UploadFile) else value)
                for key, value in form.multi_items()
            ]
        finally:
            await form.close()
    except MultiPartException as error:
        raise RequestError(f"The form is not valid: {error.message}") from error
    except UnicodeDecodeError as error:
        raise RequestError("The form is not UTF-8.") from error
