"""Routes of LocalAI that OpenAI's API does not have: inpainting, upscaling, and videos in one response."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, Request
from fastapi.responses import Response

from octabox.errors import InvalidParameterError
from octabox.frontends.http.bodies import body_description, check_fields, read_json
from octabox.frontends.http.context import AppContext
from octabox.frontends.http.disconnect import cancel_on_disconnect
from octabox.frontends.http.localai.bindings import find_upscaler, parse_video
from octabox.frontends.http.localai.responses import to_response
from octabox.frontends.http.localai.schema import InpaintingForm, UpscaleForm, VideoRequest
from octabox.frontends.http.localai.translate import INPAINTING, ParsedRequest, to_inpainting, to_upscaling
from octabox.frontends.http.middleware import SafeJson
from octabox.frontends.http.multipart import read_fields
from octabox.frontends.http.responses import base_url, default_response_format, effective_syntax
from octabox.service.protocols import Models
from octabox.service.selection.models import find_pipeline
from octabox.service.workflows.upscale import check_scale, upscale_image
from octabox.types import Generation

#: Example of a body, for hints.
EXAMPLE = '{"model": "...", "prompt": "..."}'


def image_routes(ctx: AppContext) -> APIRouter:
    """Return the routes for images."""
    router = APIRouter(prefix="/images", tags=["LocalAI"])

    @router.post("/inpainting", openapi_extra=body_description(InpaintingForm.model_json_schema, "multipart/form-data"))
    async def inpainting(request: Request) -> Response:
        """Inpaint an image where its mask is white."""
        fields, inputs = await read_fields(request, ctx.settings.max_upload_bytes, InpaintingForm)
        form = check_fields(InpaintingForm, fields)
        models, entry = await asyncio.to_thread(ctx.models.snapshot), None
        if form.model:
            entry = await asyncio.to_thread(find_pipeline, models, form.model, form.task or INPAINTING)
        return await _respond(
            ctx, request, models, to_inpainting(form, inputs, entry, effective_syntax(ctx, models, form.model))
        )

    @router.post("/upscale", openapi_extra=body_description(UpscaleForm.model_json_schema, "multipart/form-data"))
    async def upscale(request: Request) -> Response:
        """Upscale an image."""
        fields, inputs = await read_fields(request, ctx.settings.max_upload_bytes, UpscaleForm)
        form = check_fields(UpscaleForm, fields)
        check_scale(form.scale)
        if any(isinstance(source, str) for source in inputs.get("image", ())):
            raise InvalidParameterError("'image' must be a file.", hint="Send it as a file.", parameter="image")
        models = await asyncio.to_thread(ctx.models.snapshot)
        entry = await asyncio.to_thread(find_upscaler, models, form)
        parsed = to_upscaling(form, inputs, entry, effective_syntax(ctx, models, form.model))
        with parsed.rename_error_params():
            limit = ctx.settings.max_image_pixels
            work = upscale_image(ctx.generation, parsed.request, form.scale, ctx.decoder, limit, models)
            generation = await cancel_on_disconnect(request.receive, work)
        return await _build_response(ctx, request, models, parsed, generation)

    return router


def video_routes(ctx: AppContext) -> APIRouter:
    """Return the route for videos."""
    router = APIRouter(tags=["LocalAI"])

    @router.post("/video", openapi_extra=body_description(VideoRequest.model_json_schema, "application/json"))
    async def video(request: Request) -> Response:
        """Generate a video, and respond when it is finished."""
        body = check_fields(VideoRequest, await read_json(request, EXAMPLE))
        models = await asyncio.to_thread(ctx.models.snapshot)
        return await _respond(ctx, request, models, await asyncio.to_thread(parse_video, ctx, models, body))

    return router


async def _respond(ctx: AppContext, request: Request, models: Models, parsed: ParsedRequest) -> Response:
    """Run a request and return the response."""
    with parsed.rename_error_params():
        generation = await cancel_on_disconnect(request.receive, ctx.generation.generate(parsed.request, models))
    return await _build_response(ctx, request, models, parsed, generation)


async def _build_response(
    ctx: AppContext, request: Request, models: Models, parsed: ParsedRequest, generation: Generation
) -> Response:
    """Return the response for a generation."""
    response_format = parsed.response_format or default_response_format(ctx, models, parsed.request.model)
    base, warnings = base_url(ctx, request), parsed.warnings_of(generation)
    return SafeJson(await to_response(generation, response_format, ctx.results, base, warnings))
