"""Forms with files, as edits and variations are sent."""

from __future__ import annotations

from starlette.requests import Request

from octabox.frontends.http.multipart import read_fields
from octabox.frontends.http.openai.schema import ImageRequest, from_fields
from octabox.types import Source


async def read_form(request: Request, most_bytes: int) -> tuple[ImageRequest, dict[str, tuple[Source, ...]]]:
    """Return the fields of a form for images, and its media by call parameter.

    Raises:
        RequestError: It is no form, or a field has a wrong value.
    """
    fields, media = await read_fields(request, most_bytes, ImageRequest)
    return from_fields(fields), media
