"""Routes that search the Hub, and describe, list and remove models."""

from __future__ import annotations

import asyncio
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query
from fastapi.responses import Response

from octabox.errors import ModelNotFoundError
from octabox.frontends.http.context import AppContext
from octabox.frontends.http.hub import pulls
from octabox.frontends.http.middleware import SafeJson
from octabox.frontends.http.network.access import AdminAccess
from octabox.hub.browsing import search
from octabox.hub.browsing.cached_models import cached_models
from octabox.hub.browsing.inspection import inspect_repository
from octabox.hub.browsing.local_files import local_models
from octabox.hub.browsing.memory import machine_memory
from octabox.hub.browsing.removal import plan_any_removal, remove
from octabox.hub.folder import is_hub_id
from octabox.hub.pulls.links import ModelFolders


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
        """Search models on the Hub: what each is, its size, and whether it can be used and fits into the memory.

        The Hub cannot sort by size: `sort=size` returns the largest of the 100 most downloaded results, or of twice `limit`. A
        result with an `error` is one that the Hub did not answer about; its size is null.
        """
        query = search.Query(q, task, author, sort, limit, gated)
        found = await asyncio.to_thread(lambda: search.search_models(query, machine_memory(), is_served))
        return SafeJson({"object": "list", "data": [each.to_json() for each in found]})

    @router.get("/models")
    async def models() -> Response:
        """List the models in the cache and in the folders: their sizes, and whether each is complete."""
        found = await asyncio.to_thread(lambda: [*cached_models(), *local_models(_folders(ctx))])
        return SafeJson({"object": "list", "data": [each.to_json() for each in found]})

    @router.get("/models/{owner}/{repo}")
    async def model(owner: str, repo: str, revision: str | None = None) -> Response:
        """Describe a model in the cache or on the Hub, without downloading it."""
        name = _hub_id(owner, repo) + (f"@{revision}" if revision else "")
        found = await asyncio.to_thread(lambda: inspect_repository(name, machine_memory(), is_served, tasks_of))
        return SafeJson(found.to_json())


def _add_removal(router: APIRouter, ctx: AppContext) -> None:
    """Add the route that removes a model."""

    @router.delete("/models/{name:path}")
    async def remove_model(name: str, revision: str | None = None, dry_run: bool = False) -> Response:
        """Remove a model from the cache, or a downloaded file by its name in the folders of models, LoRAs and embeddings.

        What is in use is not removed. With `dry_run`, return what would be removed.
        """
        if revision:
            owner, _, repo = name.partition("/")
            name = f"{_hub_id(owner, repo)}@{revision}"
        return await _remove(ctx, name, dry_run=dry_run)


async def _remove(ctx: AppContext, name: str, *, dry_run: bool) -> Response:
    """Remove a model, or return what would be removed."""
    url_folder = ctx.settings.cache_dir / "files"
    removal = await asyncio.to_thread(plan_any_removal, name, _folders(ctx), url_folder)
    if not dry_run:
        await asyncio.to_thread(remove, removal)
    return SafeJson({**removal.to_json(), "removed": not dry_run})


def _folders(ctx: AppContext) -> ModelFolders:
    """Return the folders of the server."""
    return ModelFolders(ctx.settings.models, ctx.settings.lora_folder, ctx.settings.embedding_folder)


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
