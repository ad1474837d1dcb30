"""How the server is, and the files it has made."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import FileResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST

from octabox.errors import NotFoundError
from octabox.frontends.http.context import AppContext
from octabox.frontends.http.middleware import SafeJson


def routes(ctx: AppContext) -> APIRouter:
    """Return the routes that need no key."""
    router = APIRouter(tags=["server"])

    @router.get("/healthz")
    async def healthz() -> Response:
        """Say that the process answers; nothing is looked at for that."""
        return SafeJson({"status": "ok"})

    @router.get("/readyz")
    async def readyz() -> Response:
        """Say whether requests can be served."""
        ready = ctx.models.ready()
        return SafeJson({"status": "ready" if ready else "starting"}, 200 if ready else 503)

    @router.get("/metrics")
    async def metrics() -> Response:
        """Return the figures in Prometheus' text format."""
        return Response(ctx.metrics.render(ctx.models.status()), media_type=CONTENT_TYPE_LATEST)

    @router.head("/results/{name}", include_in_schema=False)
    @router.get("/results/{name}")
    async def result(name: str) -> Response:
        """Return a finished file."""
        found = ctx.results.find(name)
        if found is None:
            hint = "Results are kept for a while only; ask for response_format b64_json to get them in the answer."
            raise NotFoundError("There is no such result, or it has expired.", hint=hint)
        headers = {"x-content-type-options": "nosniff", "cache-control": "private, max-age=3600"}
        return FileResponse(found.path, media_type=found.media_type, headers=headers)

    return router
