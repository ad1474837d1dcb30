"""Routes of OpenAI's images API."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from octabox.catalog.entries import PipelineEntry
from octabox.errors import MissingParameterError
from octabox.frontends.http.bodies import body_description, read_json
from octabox.frontends.http.context import AppContext
from octabox.frontends.http.disconnect import cancel_on_disconnect
from octabox.frontends.http.middleware import SafeJson
from octabox.frontends.http.multipart import MASK
from octabox.frontends.http.openai.images.events import to_events
from octabox.frontends.http.openai.images.forms import read_edit
from octabox.frontends.http.openai.images.masks import INPAINTING, OWN_MASK, find_mask
from octabox.frontends.http.openai.images.responses import to_response
from octabox.frontends.http.openai.images.schema import ImageRequest, parse_fields
from octabox.frontends.http.openai.images.translate import ParsedRequest, needs_prompt, require_prompt, to_request
from octabox.frontends.http.responses import base_url, default_response_format, effective_syntax
from octabox.frontends.http.sse import EventStream, StartedEvents
from octabox.frontends.naming.aliases import inline_schema
from octabox.service.protocols import Models
from octabox.service.selection.models import find_pipeline, first_model_for
from octabox.types import Source


def _body_schema() -> dict[str, Any]:
    """Return the JSON Schema of a body."""
    return inline_schema(ImageRequest.model_json_schema())


def routes(ctx: AppContext) -> APIRouter:
    """Return the routes."""
    router = APIRouter(prefix="/images", tags=["images"])
    form_or_json = body_description(_body_schema, "multipart/form-data", "application/json")

    @router.post("/generations", openapi_extra=body_description(_body_schema, "application/json"))
    async def generations(request: Request) -> Response:
        """Generate images from a prompt, and from images if the model takes them."""
        body = parse_fields(await read_json(request))
        task = "text-to-image" if needs_prompt(body) else "image-to-image"
        models, model, entry = await asyncio.to_thread(lambda: _find(ctx.models.snapshot(), body, task, body.task))
        if needs_prompt(body) and _takes_prompt(entry):
            require_prompt(body)
        syntax = effective_syntax(ctx, models, model, body.prompt_syntax)
        parsed = to_request(body, model, entry=entry, syntax=syntax)
        return await _respond(ctx, request, models, parsed, stream=body.stream, prefix="image_generation")

    @router.post("/edits", openapi_extra=form_or_json)
    async def edits(request: Request) -> Response:
        """Edit an image by a prompt, the whole image or the part where a mask is transparent or white."""
        body, inputs = await read_edit(request, ctx.settings.max_upload_bytes)
        _require_image(inputs)
        models = await asyncio.to_thread(ctx.models.snapshot)
        has_mask = MASK in inputs
        inputs |= await find_mask(ctx, models, body.model, inputs) if body.task in (None, INPAINTING) else {}
        task = INPAINTING if MASK in inputs else "image-to-image"
        _, model, entry = await asyncio.to_thread(_find, models, body, task, body.task or task)
        if _takes_prompt(entry):
            require_prompt(body)
        syntax = effective_syntax(ctx, models, model, body.prompt_syntax)
        parsed = to_request(body, model, inputs, task, entry, syntax)
        if MASK in inputs and not has_mask:
            parsed = replace(parsed, warnings=(*parsed.warnings, OWN_MASK))
        return await _respond(ctx, request, models, parsed, stream=body.stream, prefix="image_edit")

    @router.post("/variations", openapi_extra=form_or_json)
    async def variations(request: Request) -> Response:
        """Generate variations of an image."""
        body, inputs = await read_edit(request, ctx.settings.max_upload_bytes)
        _require_image(inputs)
        task = "image-to-image"
        models = await asyncio.to_thread(ctx.models.snapshot)
        _, model, entry = await asyncio.to_thread(_find, models, body, task, body.task or task)
        body = body.model_copy(update={"prompt": body.prompt or ("" if _takes_prompt(entry) else None)})
        syntax = effective_syntax(ctx, models, model, body.prompt_syntax)
        parsed = to_request(body, model, inputs, task, entry, syntax)
        return await _respond(ctx, request, models, parsed, stream=body.stream, prefix="image_edit")

    return router


def _require_image(inputs: dict[str, tuple[Source, ...]]) -> None:
    """Raise an error if the image is missing."""
    if "image" not in inputs:
        hint = "Send it as a file of the form, or in JSON as images[].image_url."
        raise MissingParameterError("'image' is missing.", hint=hint, parameter="image")


def _find(
    models: Models, body: ImageRequest, task: str, served: str | None
) -> tuple[Models, str, PipelineEntry | None]:
    """Return the models, the name of the requested one, and its pipeline; None if it has none, which the call reports.

    Args:
        models: The models of this server, as the request sees them.
        body: The request; if it names no model, the first model that makes images is used.
        task: The task by which that is chosen.
        served: The task that the pipeline serves; None for that of the model's class.
    """
    name = body.model or first_model_for(models, "image", body.task or task)
    return models, name, find_pipeline(models, name, served)


def _takes_prompt(entry: PipelineEntry | None) -> bool:
    """Return whether a pipeline is known to take a prompt."""
    return entry is not None and entry.parameter("prompt") is not None


async def _respond(
    ctx: AppContext, request: Request, models: Models, parsed: ParsedRequest, *, stream: bool, prefix: str
) -> Response:
    """Run a request and return the response."""
    with parsed.rename_error_params():
        if stream:
            return await _respond_with_events(ctx, request, models, parsed, prefix)
        generation = await cancel_on_disconnect(request.receive, ctx.generation.generate(parsed.request, models))
    response_format = parsed.response_format or default_response_format(ctx, models, parsed.request.model)
    return SafeJson(await to_response(generation, parsed, response_format, ctx.results, base_url(ctx, request)))


async def _respond_with_events(
    ctx: AppContext, request: Request, models: Models, parsed: ParsedRequest, prefix: str
) -> Response:
    """Return a stream of events; an early error is raised."""
    events = StartedEvents(ctx.generation.stream(parsed.request, models))
    try:
        await cancel_on_disconnect(request.receive, events.start())
    except BaseException:
        await events.aclose()
        raise
    return EventStream(to_events(events, parsed, prefix), events)
