"""Parts of response bodies: their format, base64 content and links to results."""

from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request

from octabox.errors import InvalidParameterError
from octabox.frontends.http.context import AppContext
from octabox.types import Artifact

#: Values of ``response_format``.
RESPONSE_FORMATS = ("url", "b64_json")

#: Names of OpenAI's models that never respond with URLs, so that their clients do not send ``response_format`` and read
#: ``b64_json`` only (OpenAI's API reference, "Create image").
GPT_IMAGE = re.compile(r"(chat)?gpt-image", re.IGNORECASE)


def default_response_format(model: str) -> str:
    """Return the response format of requests that name none: that of OpenAI's model of this name, otherwise ``url``."""
    return "b64_json" if GPT_IMAGE.match(model) else "url"


def parse_response_format(value: str | Mapping[str, Any] | None, default: str = "url") -> str:
    """Return the response format of a request: ``url`` or ``b64_json``.

    Args:
        value: Value of the request.
        default: Format if the request has none.

    Raises:
        InvalidParameterError: The format is unknown.
    """
    name = value.get("type") if isinstance(value, Mapping) else value
    if name in (None, ""):
        return default
    if name not in RESPONSE_FORMATS:
        raise InvalidParameterError(
            f"'response_format' must be url or b64_json, not {str(name)[:50]!r}.",
            parameter="response_format",
            choices=RESPONSE_FORMATS,
        )
    return str(name)


async def as_base64(artifact: Artifact) -> str:
    """Return the content of an artifact in base64."""
    return (await asyncio.to_thread(base64.b64encode, artifact.content)).decode("ascii")


async def as_data_uri(artifact: Artifact) -> str:
    """Return an artifact as a data URI."""
    return f"data:{artifact.media_type};base64,{await as_base64(artifact)}"


def base_url(ctx: AppContext, request: Request) -> str:
    """Return the base URL of links in a response, without a trailing slash."""
    return ctx.settings.public_url or str(request.base_url).rstrip("/")


def link(base: str, name: str) -> str:
    """Return the URL of a stored result."""
    return f"{base}/results/{name}"
