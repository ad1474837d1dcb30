"""Parts of responses: their format, base64 content, links to results, and headers of files."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import re
from collections.abc import Iterable, Mapping
from typing import Any, get_args

from starlette.requests import Request

from octabox.config.model import ResponseFormat
from octabox.errors import InvalidParameterError, ModelNotFoundError
from octabox.frontends.http.context import AppContext
from octabox.service.protocols import Models
from octabox.types import Artifact

#: Headers of a response that is a file: the seed, and the warnings.
SEED, WARNINGS = MEDIA_HEADERS = ("x-octabox-seed", "x-octabox-warnings")

#: Bytes that are encoded in base64 in less time than a thread takes to be woken.
SMALL = 128 * 1024

#: Values of ``response_format``.
RESPONSE_FORMATS = get_args(ResponseFormat)

#: Names of OpenAI's models that never respond with URLs, so that their clients do not send ``response_format`` and read
#: ``b64_json`` only (OpenAI's API reference, "Create image").
GPT_IMAGE = re.compile(r"(chat)?gpt-image", re.IGNORECASE)


def default_response_format(ctx: AppContext, models: Models, model: str) -> str:
    """Return the response format of requests that name none.

    That is the model's, or else the server's, or else that of OpenAI's model of this name, or else ``url``.
    """
    configured = models.config(model).response_format
    return configured or ctx.settings.response_format or ("b64_json" if GPT_IMAGE.match(model) else "url")


def effective_syntax(ctx: AppContext, models: Models, model: str | None, requested: str | None = None) -> str:
    """Return the prompt syntax of a request: its own, or else the model's, or else the server's.

    Args:
        ctx: Collaborators of the routes.
        models: The models of this server, as the request sees them.
        model: Name of the model; None if the request names none. The service reports, and counts, one that does not exist.
        requested: The syntax that the request names.
    """
    configured = None
    if model and requested is None:
        with contextlib.suppress(ModelNotFoundError):
            configured = models.config(model).prompt_syntax
    return requested or configured or ctx.settings.prompt_syntax


def parse_response_format(value: str | Mapping[str, Any] | None) -> str | None:
    """Return the response format of a request: ``url`` or ``b64_json``; None if it names none.

    Raises:
        InvalidParameterError: The format is unknown.
    """
    name = value.get("type") if isinstance(value, Mapping) else value
    if name in (None, ""):
        return None
    if name not in RESPONSE_FORMATS:
        raise InvalidParameterError(
            f"'response_format' must be url or b64_json, not {str(name)[:50]!r}.",
            parameter="response_format",
            choices=RESPONSE_FORMATS,
        )
    return str(name)


async def as_base64(artifact: Artifact) -> str:
    """Return the content of an artifact in base64, which takes a thread only where it takes time."""
    if len(artifact.content) <= SMALL:
        return base64.b64encode(artifact.content).decode("ascii")
    return (await asyncio.to_thread(base64.b64encode, artifact.content)).decode("ascii")


async def as_data_uri(artifact: Artifact) -> str:
    """Return an artifact as a data URI."""
    return f"data:{artifact.media_type};base64,{await as_base64(artifact)}"


def media_headers(artifact: Artifact, warnings: Iterable[str]) -> dict[str, str]:
    """Return the headers of a response that is the file of an artifact."""
    headers = {SEED: str(artifact.seed)} if artifact.seed is not None else {}
    if text := header_text(" ".join(warnings)):
        headers[WARNINGS] = text
    return headers


def header_text(text: str) -> str:
    """Return a text as the value of a header, which is one line of ASCII."""
    return " ".join(text.encode("ascii", "replace").decode().split())


def base_url(ctx: AppContext, request: Request) -> str:
    """Return the base URL of links in a response, without a trailing slash."""
    return ctx.settings.public_url or str(request.base_url).rstrip("/")


def link(base: str, name: str) -> str:
    """Return the URL of a stored result."""
    return f"{base}/results/{name}"
