"""The routes that make images."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from octabox.errors import MissingParameterError, ModelNotFoundError
from octabox.frontends.http.bodies import read_json
from octabox.frontends.http.context import AppContext
from octabox.frontends.http.disconnect import cancel_on_disconnect
from octabox.frontends.http.links import base_url
from octabox.frontends.http.middleware import SafeJson
from octabox.frontends.http.multipart import MASK
from octabox.frontends.http.openai.events import to_events
from octabox.frontends.http.openai.forms import read_form
from octabox.frontends.http.openai.responses import to_answer
from octabox.frontends.http.openai.schema import ImageRequest, from_fields
from octabox.frontends.http.openai.translate import ParsedRequest, needs_prompt, require_prompt, to_request
from octabox.frontends.http.sse import EventStream, ended_by_errors, first_of
from octabox.frontends.naming.aliases import documented
from octabox.types import Source


def _documented(media_type: str) -> dict[str, Any]:
    """Return what the server's own documentation says of a body that is read by hand."""
    return {
        "requestBody": {
            "required": True,
            "content": {media_type: {"schema": documented(ImageRequest.model_json_schema())}},
        }
    }


def routes(ctx: AppContext) -> APIRouter:
    """Return the routes."""
    router = APIRouter(prefix="/images", tags=["images"])

    @router.post("/generations", openapi_extra=_documented("application/json"))
    async def generations(request: Request) -> Response:
        """Make images from words, and from images where the model takes some."""
        body = from_fields(await read_json(request))
        model = await _model(ctx, body)
        if needs_prompt(body) and (body.prompt or await _takes_prompt(ctx, model)):
            require_prompt(body)
        wanted = to_request(body, model)
        return await _answer(ctx, request, wanted, stream=body.stream, kind="image_generation")

    @router.post("/edits", openapi_extra=_documented("multipart/form-data"))
    async def edits(request: Request) -> Response:
        """Change an image by words, all of it or where a mask is transparent or white."""
        body, inputs = await read_form(request, ctx.settings.max_upload_bytes)
        _require_image(inputs)
        task = "inpainting" if MASK in inputs else "image-to-image"
        model = await _model(ctx, body)
        wordless = not await _takes_prompt(ctx, model, body.task or task)
        if not wordless:
            require_prompt(body)
        wanted = to_request(body, model, inputs, task, wordless=wordless)
        return await _answer(ctx, request, wanted, stream=body.stream, kind="image_edit")

    @router.post("/variations", openapi_extra=_documented("multipart/form-data"))
    async def variations(request: Request) -> Response:
        """Make images that are like an image."""
        body, inputs = await read_form(request, ctx.settings.max_upload_bytes)
        _require_image(inputs)
        task, model = "image-to-image", await _model(ctx, body)
        wordless = not await _takes_prompt(ctx, model, body.task or task)
        body = body.model_copy(update={"prompt": body.prompt or (None if wordless else "")})
        wanted = to_request(body, model, inputs, task, wordless=wordless)
        return await _answer(ctx, request, wanted, stream=body.stream, kind="image_edit")

    return router


def _require_image(inputs: dict[str, tuple[Source, ...]]) -> None:
    if "image" not in inputs:
        hint = "Send it as a file of the form."
        raise MissingParameterError("'image' is missing.", hint=hint, parameter="image")


async def _model(ctx: AppContext, body: ImageRequest) -> str:
    """Return the model that was asked for; the first of the list where none was."""
    if body.model:
        return body.model
    models = await asyncio.to_thread(ctx.models.list)
    if not models:
        raise ModelNotFoundError("There is no model.", hint="Put one into the server's folder of models.")
    return models[0].name


async def _takes_prompt(ctx: AppContext, model: str, task: str | None = None) -> bool:
    """Return whether a model is told by words what to paint, for a task of its own or this one."""
    entry = await asyncio.to_thread(ctx.models.pipeline, model, task)
    return entry.parameter("prompt") is not None


async def _answer(ctx: AppContext, request: Request, wanted: ParsedRequest, *, stream: bool, kind: str) -> Response:
    """Run a request and answer it."""
    with wanted.rename_error_params():
        if stream:
            return await _stream(ctx, request, wanted, kind)
        generation = await cancel_on_disconnect(request.receive, ctx.generation.generate(wanted.request))
    return SafeJson(await to_answer(generation, wanted, ctx.results, base_url(ctx, request)))


async def _stream(ctx: AppContext, request: Request, wanted: ParsedRequest, kind: str) -> Response:
    """Answer with events; what goes wrong before the first of them is an answer of its own."""
    events = ctx.generation.stream(wanted.request)
    try:
        first = await cancel_on_disconnect(request.receive, first_of(events))
    except BaseException:
        await events.aclose()
        raise
    return EventStream(ended_by_errors(to_events(first, events, wanted, kind)), events)
