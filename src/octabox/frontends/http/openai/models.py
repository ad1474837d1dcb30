"""Routes that list, load and unload models."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import Any

from fastapi import APIRouter
from fastapi.responses import Response

from octabox.errors import ModelNotFoundError
from octabox.frontends.http.context import AppContext
from octabox.frontends.http.middleware import SafeJson
from octabox.types import ModelInfo, ModelStatus


def routes(ctx: AppContext) -> APIRouter:
    """Return the routes. A name may contain slashes, so the routes with a suffix come first."""
    router = APIRouter(prefix="/models", tags=["models"])

    async def find(name: str) -> ModelInfo:
        """Return a model that is configured or in memory."""
        try:
            return await asyncio.to_thread(ctx.models.get, name)
        except ModelNotFoundError:
            found = next((status for status in ctx.models.status() if status.model == name), None)
            if found is None:
                raise
            return unconfigured(found)

    @router.get("")
    async def models() -> Response:
        """List all models, with the status of those in memory."""
        statuses = {status.model: status for status in ctx.models.status()}
        infos = {info.name: info for info in await asyncio.to_thread(ctx.models.list)}
        infos |= {name: unconfigured(status) for name, status in statuses.items() if name not in infos}
        data = [describe(info, statuses.get(info.alias_of or name)) for name, info in infos.items()]
        return SafeJson({"object": "list", "data": data})

    @router.get("/{name:path}/schema")
    async def schema(name: str, task: str | None = None) -> Response:
        """Return the JSON Schema of a model's requests."""
        return SafeJson(await asyncio.to_thread(ctx.models.schema, name, task))

    @router.post("/{name:path}/load")
    async def load(name: str) -> Response:
        """Load a model into memory."""
        info = await asyncio.to_thread(ctx.models.get, name)
        return SafeJson(describe(info, await ctx.models.load(name)))

    @router.post("/{name:path}/unload")
    async def unload(name: str) -> Response:
        """Unload a model from memory."""
        info = await find(name)
        return SafeJson({**describe(info, None), "unloaded": await ctx.models.unload(name)})

    @router.get("/{name:path}")
    async def model(name: str) -> Response:
        """Return a model, with its status if it is in memory."""
        info = await find(name)
        status = next((status for status in ctx.models.status() if status.model == (info.alias_of or info.name)), None)
        return SafeJson(describe(info, status))

    return router


def unconfigured(status: ModelStatus) -> ModelInfo:
    """Return a model in memory that is not in the models folder: a Hub id, or one whose configuration was removed."""
    return ModelInfo(status.model, status.model, status.pipeline)


def describe(info: ModelInfo, status: ModelStatus | None) -> dict[str, Any]:
    """Return a model in OpenAI's format, without its path on the server."""
    described: dict[str, Any] = {
        "id": info.name,
        "object": "model",
        "created": int(info.created),
        "owned_by": "octabox",
        "pipeline": info.pipeline,
        "tasks": list(info.tasks),
        "description": info.description,
        **({"alias_of": info.alias_of} if info.alias_of else {}),
    }
    if status is not None:
        described["status"] = {name: value for name, value in asdict(status).items() if name != "model"}
    return described
