"""Routes that search the Hub, and describe, list and remove models."""

from __future__ import annotations

import asyncio
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query
from fastapi.responses import Response

from octabox.errors import ModelNotFoundError
from octabox.frontends.http.context import AppContext
from octabox.frontends.http.hub import pulls
from octabox.frontends.http.hub.access import AdminAccess
from octabox.frontends.http.middleware import SafeJson
from octabox.hub.browsing import search
from octabox.hub.browsing.inspection import inspect_repository
from octabox.hub.browsing.library import cached_models, plan_removal, remove_model
from octabox.hub.browsing.memory import machine_memory
from octabox.hub.folder import is_hub_id


def routes(ctx: AppContext) -> APIRouter:
    """Return the routes; none if the settings disable them."""
    router = APIRouter(prefix="/hub", tags=["hub"], dependencies=[Depends(AdminAccess(ctx.settings))])
    if not ctx.settings.hub:
        return router
    router.include_router(pulls.routes(ctx))
    _add_browsing(router, ctx)
    _add_removal(router, ctx)
    return router


def _add_browsing(router: APIRouter, ctx: AppContext) -> None:
    """Add the routes that change nothing."""

    def is_served(name: str) -> bool:
        return name in ctx.models.catalog.pipelines

    def tasks_of(name: str) -> tuple[str, ...]:
        return tuple(ctx.models.catalog.pipelines[name].tasks)

    @router.get("/search")
    async def search_hub(
        q: str = "",
        task: str | None = None,
        author: str | None = None,
        sort: Literal["downloads", "likes", "updated", "size"] = "downloads",
        limit: Annotated[int, Query(ge=1, le=100)] = 20,
        gated: bool | None = None,
    ) -> Response:
        """Search models on the Hub: what each is, its size, and whether it can be used and fits into the memory."""
        query = search.Query(q, task, author, sort, limit, gated)
        found = await asyncio.to_thread(lambda: search.search_models(query, machine_memory(), is_served))
        return SafeJson({"object": "list", "data": [each.to_json() for each in found]})

    @router.get("/models")
    async def models() -> Response:
        """List the models in the cache: their sizes, and whether each is complete."""
        found = await asyncio.to_thread(cached_models)
        return SafeJson({"object": "list", "data": [each.to_json() for each in found]})

    @router.get("/models/{owner}/{repo}")
    async def model(owner: str, repo: str, revision: str | None = None) -> Response:
        """Describe a model in the cache or on the Hub, without downloading it."""
        name = _hub_id(owner, repo) + (f"@{revision}" if revision else "")
        found = await asyncio.to_thread(lambda: inspect_repository(name, machine_memory(), is_served, tasks_of))
        return SafeJson(found.to_json())


def _add_removal(router: APIRouter, ctx: AppContext) -> None:
    """Add the route that removes a model."""

    @router.delete("/models/{owner}/{repo}")
    async def remove(owner: str, repo: str, revision: str | None = None, dry_run: bool = False) -> Response:
        """Remove a model from the cache, unless it is in use; with `dry_run`, return what would be removed."""
        settings = ctx.settings
        folders = (settings.models, settings.lora_folder, settings.embedding_folder)
        name = _hub_id(owner, repo) + (f"@{revision}" if revision else "")
        removal = await asyncio.to_thread(plan_removal, name, folders)
        if not dry_run:
            await asyncio.to_thread(remove_model, removal)
        return SafeJson({**removal.to_json(), "removed": not dry_run})


def _hub_id(owner: str, repo: str) -> str:
    """Return the Hub id of two parts of a path, which must not lead to a file of this machine.

    Raises:
        ModelNotFoundError: They are not a Hub id.
    """
    name = f"{owner}/{repo}"
    if not is_hub_id(name):
        hint = "A repository id is an owner, a slash and a name."
        raise ModelNotFoundError(f"{name!r} is not a valid Hub repository id.", hint=hint, model=name)
    return name
