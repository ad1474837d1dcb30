"""How a finished thing reaches its client: inside the answer as base64, or by a link."""

from __future__ import annotations

import asyncio
import base64

from starlette.requests import Request

from octabox.frontends.http.context import AppContext
from octabox.types import Artifact


async def as_base64(artifact: Artifact) -> str:
    """Return an artifact's bytes as text."""
    return (await asyncio.to_thread(base64.b64encode, artifact.content)).decode("ascii")


async def as_data_uri(artifact: Artifact) -> str:
    """Return an artifact as a data URI."""
    return f"data:{artifact.media_type};base64,{await as_base64(artifact)}"


def base_url(ctx: AppContext, request: Request) -> str:
    """Return what links of an answer begin with, without a slash at its end."""
    return ctx.settings.public_url or str(request.base_url).rstrip("/")


def link(base: str, name: str) -> str:
    """Return the address of a kept result."""
    return f"{base}/results/{name}"
