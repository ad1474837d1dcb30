"""Forms with files, for edits and variations."""

from __future__ import annotations

from starlette.requests import Request

from octabox.frontends.http.multipart import read_fields
from octabox.frontends.http.openai.images.schema import ImageRequest, parse_fields
from octabox.types import Source


async def read_form(request: Request, max_bytes: int) -> tuple[ImageRequest, dict[str, tuple[Source, ...]]]:
    """Return the fields of a form, and its media by call parameter.

    Raises:
        RequestError: The body is not a form, or a field has an invalid value.
    """
    fields, media = await read_fields(request, max_bytes, ImageRequest)
    return parse_fields(fields), media
