"""Routes that list LoRAs and embeddings, and show their previews."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Literal

from fastapi import APIRouter
from fastapi.responses import Response

from octabox.errors import NotFoundError
from octabox.frontends.http.context import AppContext
from octabox.frontends.http.middleware import SafeJson
from octabox.hub.adapters.previews import read_preview
from octabox.hub.adapters.serialization import adapter_to_json


def routes(ctx: AppContext) -> APIRouter:
    """Return the routes."""
    router = APIRouter(prefix="/adapters", tags=["adapters"])

    @router.get("")
    async def adapters(model: str | None = None, kind: Literal["lora", "embedding"] | None = None) -> Response:
        """List the LoRAs and embeddings; with a model, whether each is compatible, and why not."""
        folder = (
            None if model is None else Path((await asyncio.to_thread(lambda: ctx.models.snapshot().get(model))).source)
        )
        registry = ctx.models.adapters
        found = await asyncio.to_thread(lambda: [*registry.loras(), *registry.embeddings()])
        rows = [await asyncio.to_thread(adapter_to_json, each, folder) for each in found if kind in {None, each.kind}]
        return SafeJson({"object": "list", "data": rows})

    @router.get("/preview")
    async def preview(name: str, kind: Literal["lora", "embedding"] = "lora") -> Response:
        """Return the preview of a LoRA or an embedding: an image in PNG, JPEG, WebP or GIF."""
        registry = ctx.models.adapters
        found = await asyncio.to_thread(registry.loras if kind == "lora" else registry.embeddings)
        adapter = next((each for each in found if each.name == name), None)
        if adapter is None:
            message = f"There is no {'LoRA' if kind == 'lora' else 'embedding'} {name!r}."
            raise NotFoundError(message, hint="`GET /v1/adapters` lists them.", parameter="name")
        image = await asyncio.to_thread(read_preview, adapter)
        if image is None:
            hint = f"Put an image next to its file, such as {adapter.file.with_suffix('.preview.png').name}."
            raise NotFoundError(f"{name!r} has no preview.", hint=hint, parameter="name")
        content, media_type = image
        headers = {"x-content-type-options": "nosniff", "cache-control": "private, max-age=60"}
        return Response(content, media_type=media_type, headers=headers)

    return router
