"""Routes for models and options."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from octabox.errors import CapacityError
from octabox.frontends.http.a1111.callers import Callers, caller_of
from octabox.frontends.http.a1111.checkpoints import checkpoint_to_json, find_checkpoint, list_checkpoints
from octabox.frontends.http.a1111.options import CHECKPOINT, change_options, current_options, kept_options
from octabox.frontends.http.a1111.responses import A1111Route
from octabox.frontends.http.bodies import read_json
from octabox.frontends.http.context import AppContext
from octabox.frontends.http.middleware import SafeJson
from octabox.frontends.http.responses import WARNINGS, header_text

#: How often, and after how many seconds each, a model is checked to be idle before it is unloaded.
UNLOAD_TRIES, UNLOAD_INTERVAL = 20, 0.25


def routes(ctx: AppContext, callers: Callers) -> APIRouter:
    """Return the routes."""
    router = APIRouter(prefix="/sdapi/v1", route_class=A1111Route, tags=["A1111"])

    @router.get("/options")
    async def options(request: Request) -> Response:
        """Return the options of the caller."""

        def read() -> tuple[dict[str, Any], list[str]]:
            models = ctx.models.snapshot()
            kept, warnings = kept_options(models, callers, caller_of(request))
            return current_options(models, kept), warnings

        found, warnings = await asyncio.to_thread(read)
        return SafeJson(found, headers=_headers(warnings))

    @router.post("/options")
    async def set_options(request: Request) -> Response:
        """Set options of the caller; those of others do not change."""
        sent = await read_json(request, f'{{"{CHECKPOINT}": "demo"}}')
        warnings = await asyncio.to_thread(
            lambda: change_options(ctx.models.snapshot(), callers, caller_of(request), sent)
        )
        return SafeJson(None, headers=_headers(warnings))

    @router.get("/sd-models")
    async def sd_models() -> Response:
        """List the models that make images."""
        found = await asyncio.to_thread(lambda: list_checkpoints(ctx.models.snapshot()))
        return SafeJson([await asyncio.to_thread(checkpoint_to_json, info) for info in found])

    @router.post("/unload-checkpoint")
    async def unload(request: Request) -> Response:
        """Unload the caller's model, unless it is in use."""
        name, warnings = await asyncio.to_thread(_selected, ctx, callers, request)
        await _unload(ctx, name)
        return SafeJson({}, headers=_headers(warnings))

    @router.post("/reload-checkpoint")
    async def reload(request: Request) -> Response:
        """Load the caller's model, if it is not in memory."""
        name, warnings = await asyncio.to_thread(_selected, ctx, callers, request)
        await ctx.models.load(name)
        return SafeJson({}, headers=_headers(warnings))

    return router


async def _unload(ctx: AppContext, name: str) -> None:
    """Unload a model once it is idle.

    Raises:
        CapacityError: It is in use for long.
    """
    for _ in range(UNLOAD_TRIES):
        if not _in_use(ctx, name):
            break
        await asyncio.sleep(UNLOAD_INTERVAL)
    else:
        raise CapacityError(f"The model '{name}' is in use.", hint="Try again later.", model=name)
    await ctx.models.unload(name)


def _in_use(ctx: AppContext, name: str) -> bool:
    """Return whether a model loads or has requests."""
    return any(
        each.model == name and (each.state in ("loading", "busy") or each.waiting) for each in ctx.models.status()
    )


def _selected(ctx: AppContext, callers: Callers, request: Request) -> tuple[str, list[str]]:
    """Return the model of a caller's options, and warnings about it."""
    models = ctx.models.snapshot()
    kept, warnings = kept_options(models, callers, caller_of(request))
    return find_checkpoint(models, kept.get(CHECKPOINT)), warnings


def _headers(warnings: list[str]) -> dict[str, str]:
    """Return the header of warnings, if there are any."""
    return {WARNINGS: header_text(" ".join(warnings))} if warnings else {}
