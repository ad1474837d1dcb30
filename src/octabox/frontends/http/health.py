"""Routes for health, metrics and results."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping

from fastapi import APIRouter
from fastapi.responses import FileResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST

from octabox.errors import NotFoundError, OctaboxError
from octabox.frontends.http.context import AppContext
from octabox.frontends.http.middleware import SafeJson

#: Seconds that the metrics wait for the store of background jobs: it may not respond, and Prometheus waits for ten.
STORE_TIMEOUT = 2.0


def routes(ctx: AppContext) -> APIRouter:
    """Return the routes without authentication."""
    router = APIRouter(tags=["server"])

    @router.get("/health", include_in_schema=False)
    @router.get("/healthz")
    async def healthz() -> Response:
        """Report that the process responds; nothing else is checked."""
        return SafeJson({"status": "ok"})

    @router.get("/readyz")
    async def readyz() -> Response:
        """Report whether requests can be served, and the models of `preload` that could not be loaded."""
        failures = ctx.preloads.failures(ctx.models)
        is_starting = ctx.preloads.pending or not ctx.models.ready()
        status = "failed" if failures else "starting" if is_starting else "ready"
        status = "stopping" if ctx.lifecycle.stopping else status
        body = {"status": status, **({"failures": dict(failures)} if failures else {})}
        return SafeJson(body, 200 if status == "ready" else 503)

    @router.get("/metrics")
    async def metrics() -> Response:
        """Return the metrics in Prometheus' text format."""
        jobs, size = await _job_figures(ctx)
        rendered = ctx.metrics.render(ctx.models.status(), jobs, size, ctx.models.waiting())
        return Response(rendered, media_type=CONTENT_TYPE_LATEST)

    @router.head("/results/{name}", include_in_schema=False)
    @router.get("/results/{name}")
    async def result(name: str) -> Response:
        """Return the file of a result."""
        found = await asyncio.to_thread(ctx.results.find, name)
        if found is None and not ctx.queue.is_open:
            # The results of background jobs are known when their store is open.
            with contextlib.suppress(OctaboxError):
                await ctx.queue.open()
            found = await asyncio.to_thread(ctx.results.find, name)
        if found is None:
            await ctx.queue.results.check(name)
            hint = "Results expire. With response_format b64_json they are part of the response."
            raise NotFoundError("There is no such result, or it has expired.", hint=hint)
        cache = f"private, max-age={ctx.results.remaining(found)}"
        headers = {"x-content-type-options": "nosniff", "cache-control": cache}
        return FileResponse(found.path, media_type=found.media_type, headers=headers)

    return router


async def _job_figures(ctx: AppContext) -> tuple[Mapping[str, int], int | None]:
    """Return how many background jobs there are by status, and the size of their results; nothing while that is unknown."""
    if not ctx.queue.is_open:
        return {}, None
    try:
        return await asyncio.wait_for(_read_figures(ctx), STORE_TIMEOUT)
    except (OctaboxError, asyncio.TimeoutError):  # The other metrics do not need the store.
        return {}, None


async def _read_figures(ctx: AppContext) -> tuple[Mapping[str, int], int]:
    """Return the same from the store."""
    return await ctx.queue.counts(), await ctx.queue.store.result_bytes()
