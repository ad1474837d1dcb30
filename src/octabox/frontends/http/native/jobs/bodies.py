"""Read the bodies of the routes for background jobs."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request

from octabox.errors import RequestError
from octabox.frontends.http.bodies import is_form, read_json
from octabox.frontends.http.native.generations.forms import EXAMPLE, read_request
from octabox.frontends.http.native.generations.schema import NativeRequest, parse_fields
from octabox.frontends.http.native.generations.translate import to_submission
from octabox.frontends.http.native.jobs.schema import Batch, parse_body
from octabox.service.jobs import Submission

#: Field of a batch with its requests.
REQUESTS = "requests"


async def read_submissions(request: Request, max_bytes: int) -> tuple[list[Submission], bool]:
    """Return the jobs of a body, and whether they are a batch.

    Raises:
        RequestError: The body cannot be parsed, or a field is unknown or has an invalid value.
    """
    if is_form(request):
        return [to_submission(*await read_request(request, max_bytes))], False
    fields = await read_json(request, EXAMPLE, list_field=REQUESTS)
    if REQUESTS not in fields:
        return [to_submission(parse_fields(fields), {})], False
    batch = parse_body(Batch, fields)
    defaults = {name: value for name in ("priority", "webhook") if (value := getattr(batch, name)) is not None}
    bodies = [_parse_member(_with_defaults(each, defaults), index) for index, each in enumerate(batch.requests)]
    return [to_submission(each, {}) for each in bodies], True


async def read_optional(request: Request) -> dict[str, Any]:
    """Return the JSON object of a body, which may be empty."""
    return await read_json(request) if await request.body() else {}


def _with_defaults(fields: dict[str, Any], defaults: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a request, and the defaults of those that it leaves out or has as null."""
    return {**fields, **{name: value for name, value in defaults.items() if fields.get(name) is None}}


def _parse_member(fields: dict[str, Any], index: int) -> NativeRequest:
    """Return a request of a batch; an error names it."""
    try:
        return parse_fields(fields)
    except RequestError as error:
        error.message = f"Request {index} of the batch: {error.message}"
        raise
