"""All routes of the API of the AUTOMATIC1111 web UI."""

from __future__ import annotations

from collections.abc import Iterable

from fastapi import APIRouter, Request
from fastapi.responses import Response
from fastapi.routing import APIRoute

from octabox.errors import nearest
from octabox.frontends.http.a1111.callers import Callers
from octabox.frontends.http.a1111.controlnet import routes as controlnet
from octabox.frontends.http.a1111.extras import routes as extras
from octabox.frontends.http.a1111.generation import routes as generation
from octabox.frontends.http.a1111.lists import models, server
from octabox.frontends.http.a1111.lists import routes as lists
from octabox.frontends.http.a1111.progress import routes as progress
from octabox.frontends.http.a1111.progress.tasks import Tasks
from octabox.frontends.http.a1111.responses import A1111Route, error_body
from octabox.frontends.http.context import AppContext
from octabox.frontends.http.middleware import SafeJson

#: Methods of the route for unknown paths.
METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]

#: Prefixes of the routes.
PREFIXES = ("/sdapi/v1", "/internal", "/controlnet")


def routes(ctx: AppContext) -> APIRouter:
    """Return the routes."""
    router = APIRouter(route_class=A1111Route, tags=["A1111"])
    parts = build_parts(ctx)
    for each in parts:
        router.include_router(each)
    _add_unknown(router, [route for each in parts for route in each.routes if isinstance(route, APIRoute)])
    return router


def build_parts(ctx: AppContext) -> tuple[APIRouter, ...]:
    """Return the routes by subject."""
    callers, tasks = Callers(), Tasks()
    return (
        generation.routes(ctx, callers, tasks),
        progress.routes(callers, tasks),
        models.routes(ctx, callers),
        lists.routes(ctx),
        server.routes(ctx),
        extras.routes(ctx, tasks),
        controlnet.routes(ctx),
    )


def _add_unknown(router: APIRouter, known: Iterable[APIRoute]) -> None:
    """Add routes for unknown paths, so that their errors have the format of the web UI too."""
    methods = {route.path: sorted(route.methods or ()) for route in known}

    async def unknown(request: Request) -> Response:
        """Report that there is no such route."""
        path = request.url.path
        if path in methods:
            text = f"{path} is called by {' or '.join(methods[path])}, not by {request.method}."
            return SafeJson(
                error_body("HTTPException", text, "method_not_allowed"), 405, {"allow": ", ".join(methods[path])}
            )
        close = nearest(path, methods)
        hint = f" Did you mean {' or '.join(close)}?" if close else ""
        text = f"There is no route {request.method} {path}.{hint}"
        return SafeJson(error_body("HTTPException", text, "not_found"), 404)

    for prefix in PREFIXES:
        router.add_api_route(f"{prefix}/{{path:path}}", unknown, methods=METHODS, include_in_schema=False)
