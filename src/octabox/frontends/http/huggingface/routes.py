"""Routes of the inference API."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import cache
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from octabox.errors import OctaboxError
from octabox.frontends.http.context import AppContext
from octabox.frontends.http.disconnect import cancel_on_disconnect
from octabox.frontends.http.huggingface.payloads import read_payload
from octabox.frontends.http.huggingface.responses import error_response, to_response
from octabox.frontends.http.huggingface.schema import InferenceRequest
from octabox.frontends.http.huggingface.translate import to_request
from octabox.frontends.http.middleware import SafeJson


class InferenceRoute(APIRoute):
    """Route whose errors have the text in ``error``, as the client reads it."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the handler of the route."""
        handler = super().get_route_handler()

        async def handle(request: Request) -> Response:
            try:
                return await handler(request)
            except OctaboxError as error:
                return error_response(error)
            except HTTPException as error:
                return SafeJson({"error": str(error.detail)}, error.status_code, error.headers)

        return handle


@cache
def _body_description() -> dict[str, Any]:
    """Return the OpenAPI description of a body that FastAPI does not parse; a schema takes long to make."""
    schema = InferenceRequest.model_json_schema(ref_template="#/components/schemas/{model}")
    schema.pop("$defs", None)
    schema["properties"]["parameters"] = {"type": "object"}
    content = {"application/json": {"schema": schema}, "application/octet-stream": {"schema": {"type": "string"}}}
    return {"requestBody": {"required": True, "content": content}}


def routes(ctx: AppContext) -> APIRouter:
    """Return the routes. A name may contain slashes, so the routes with a suffix come first."""
    router = APIRouter(route_class=InferenceRoute, tags=["Hugging Face"])

    async def infer(request: Request, model: str | None, task: str | None) -> Response:
        payload = await read_payload(request)
        accept = request.headers.get("accept")
        models = await asyncio.to_thread(ctx.models.snapshot)
        parsed = await asyncio.to_thread(to_request, models, payload, model, task, accept)
        with parsed.rename_error_params():
            generation = await cancel_on_disconnect(request.receive, ctx.generation.generate(parsed.request, models))
        return await to_response(generation, parsed)

    @router.post("/models/{name:path}/pipeline/{task}", openapi_extra=_body_description())
    async def infer_task(name: str, task: str, request: Request) -> Response:
        """Run a model for a task, and return the file of its output."""
        return await infer(request, name, task)

    @router.post("/models/{name:path}", openapi_extra=_body_description())
    async def infer_model(name: str, request: Request) -> Response:
        """Run a model, and return the file of its output."""
        return await infer(request, name, None)

    @router.post("/", openapi_extra=_body_description())
    async def infer_first(request: Request) -> Response:
        """Run the first model that makes what the client accepts, and return the file of its output."""
        return await infer(request, None, None)

    @router.get("/models/{name:path}/health")
    async def health(name: str) -> Response:
        """Report that a model is served."""
        await asyncio.to_thread(lambda: ctx.models.snapshot().get(name))
        return SafeJson({"status": "ok"})

    @router.get("/models/{name:path}/info")
    async def info(name: str) -> Response:
        """Return a model and its primary task."""
        found = await asyncio.to_thread(lambda: ctx.models.snapshot().get(name))
        return SafeJson({"model_id": found.name, "model_pipeline_tag": next(iter(found.tasks), None)})

    return router
