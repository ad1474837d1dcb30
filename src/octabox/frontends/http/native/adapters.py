"""Route that lists LoRAs and embeddings."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Literal

from fastapi import APIRouter
from fastapi.responses import Response

from octabox.frontends.http.context import AppContext
from octabox.frontends.http.middleware import SafeJson
from octabox.hub.adapters.serialization import adapter_to_json


def routes(ctx: AppContext) -> APIRouter:
    """Return the routes."""
    router = APIRouter(prefix="/adapters", tags=["adapters"])

    @router.get("")
    async def adapters(model: str | None = None, kind: Literal["lora", "embedding"] | None = None) -> Response:
        """List the LoRAs and embeddings; with a model, whether each is compatible, and why not."""
        folder = None if model is None else Path((await asyncio.to_thread(ctx.models.get, model)).source)
        registry = ctx.models.adapters
        found = await asyncio.to_thread(lambda: [*registry.loras(), *registry.embeddings()])
        rows = [await asyncio.to_thread(adapter_to_json, each, folder) for each in found if kind in {None, each.kind}]
        return SafeJson({"object": "list", "data": rows})

    return router
