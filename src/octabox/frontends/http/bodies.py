"""Read what clients send: JSON, and forms with files."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.datastructures import UploadFile
from starlette.requests import Request

from octabox.config.problems import expectation
from octabox.errors import InvalidParameterError, InvalidRequestError, MediaTypeError, RequestError
from octabox.frontends.naming.json_values import refuse_constant
from octabox.security.nesting import MAX_VALUES, check_nesting
from octabox.types import Source

Body = TypeVar("Body", bound=BaseModel)

#: Files and fields of one form.
MOST_FILES, MOST_FIELDS = 64, 500

#: What a form's content type begins with.
FORMS = ("multipart/form-data", "application/x-www-form-urlencoded")

#: Bytes of a body from which on it is read beside the event loop.
LARGE = 64 * 1024

#: What a refused body might have been.
EXAMPLE = '{"prompt": "..."}'


async def read_json(request: Request, example: str = EXAMPLE) -> dict[str, Any]:
    """Read a request's body, which must be a JSON object and say so by its media type.

    Browsers send JSON of another site's page only after they have asked, but text and forms without asking: taking those for
    JSON would open the server to every page.

    Args:
        request: The request.
        example: What the body might have been, for the hint of an error.

    Raises:
        MediaTypeError: Its media type is not that of JSON.
        RequestError: It is not a JSON object.
    """
    header = request.headers.get("content-type", "")
    media_type = header.partition(";")[0].strip().lower()
    if media_type != "application/json" and not (
        media_type.startswith("application/") and media_type.endswith("+json")
    ):
        what = f"not '{header[:100]}'" if header else "and the request has none"
        raise MediaTypeError(
            f"The content type must be application/json, {what}.", hint="Send 'Content-Type: application/json'."
        )
    data = await request.body()
    # Reading holds the interpreter all the same, but lets it go now and then.
    return await asyncio.to_thread(read_object, data, example) if len(data) > LARGE else read_object(data, example)


def read_object(data: bytes, example: str = EXAMPLE) -> dict[str, Any]:
    """Read a JSON object.

    Args:
        data: The text.
        example: What it might have been, for the hint of an error.

    Raises:
        RequestError: It is none, or holds more than a request may.
    """
    if data.count(b",") > MAX_VALUES:
        # Telling so many values apart takes seconds, in which no other request is served.
        raise RequestError(f"The body has more than {MAX_VALUES} values.", hint="Send arrays as files of NumPy (.npy).")
    try:
        fields = json.loads(data.decode("utf-8"), parse_constant=refuse_constant)
        if b"\\u" in data:
            # Half a character can be escaped, but is no text: nothing behind here can write it.
            json.dumps(fields, ensure_ascii=False).encode("utf-8")
    except UnicodeError as error:
        raise RequestError("The body is not UTF-8.", hint="Send JSON in UTF-8.") from error
    except (ValueError, RecursionError) as error:
        raise RequestError(f"The body is no JSON: {error}.", hint=f"Send an object, such as {example}.") from error
    if not isinstance(fields, dict):
        raise RequestError("The body must be a JSON object.", hint=f"Such as {example}.")
    for name, value in fields.items():
        check_nesting(value, name)
    return fields


def check_fields(shape: type[Body], fields: Mapping[str, Any], prefix: str = "") -> Body:
    """Check the fields of a request.

    Args:
        shape: What they must be.
        fields: The fields.
        prefix: What stands before their names in errors, where they are inside of another.

    Raises:
        InvalidParameterError: A field has a wrong value.
        InvalidRequestError: Several have.
    """
    try:
        return shape.model_validate(dict(fields))
    except ValidationError as error:
        problems: dict[str, InvalidParameterError] = {}
        for details in error.errors():
            name = f"{prefix}{details['loc'][0]}"
            problem = InvalidParameterError(f"'{name}' {expectation(details)}.", parameter=name)
            problems.setdefault(name, problem)
        if len(problems) == 1:
            raise next(iter(problems.values())) from None
        raise InvalidRequestError(list(problems.values())) from None


def is_form(request: Request) -> bool:
    """Return whether a request's body is a form."""
    return request.headers.get("content-type", "").lower().startswith(FORMS)


async def read_parts(request: Request, most_bytes: int) -> list[tuple[str, Source]]:
    """Return the parts of a form: text as text, and files as bytes.

    Raises:
        RequestError: It is no form.
    """
    if not is_form(request):
        raise RequestError("The body must be a form.", hint="Send multipart/form-data, with the image as a file.")
    try:
        limits = {"max_files": MOST_FILES, "max_fields": MOST_FIELDS, "max_part_size": most_bytes}
        async with request.form(**limits) as form:
            return [
                (key, await value.read() if isinstance(value, UploadFile) else value)
                for key, value in form.multi_items()
            ]
    except UnicodeDecodeError as error:
        raise RequestError("The form is not UTF-8.") from error
