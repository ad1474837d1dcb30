"""The routes of LocalAI's API that OpenAI's has not: repainting, larger images, and videos that are waited for."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import BaseModel

from octabox.catalog.entries import PipelineEntry
from octabox.errors import InvalidParameterError
from octabox.frontends.http.bodies import check_fields, read_json
from octabox.frontends.http.context import AppContext
from octabox.frontends.http.disconnect import cancel_on_disconnect
from octabox.frontends.http.links import base_url
from octabox.frontends.http.localai.responses import to_answer
from octabox.frontends.http.localai.schema import InpaintingForm, UpscaleForm, VideoRequest
from octabox.frontends.http.localai.translate import ParsedRequest, media_of, to_inpainting, to_upscaling, to_video
from octabox.frontends.http.middleware import SafeJson
from octabox.frontends.http.multipart import REFERENCE, read_fields
from octabox.frontends.naming.video import kind_of
from octabox.media.limits import MediaLimits
from octabox.service.selection.models import first_model_for, select_pipeline
from octabox.service.workflows.upscale import check_enlarges, check_scale, upscale_image
from octabox.types import Generation, Kind, Source

#: The field of the image that a video begins with.
START = "start_image"

#: What a request body may be.
EXAMPLE = '{"model": "...", "prompt": "..."}'


def _documented(shape: type[BaseModel], media_type: str) -> dict[str, Any]:
    """Return what the server's own documentation says of a body that is read by hand."""
    return {"requestBody": {"required": True, "content": {media_type: {"schema": shape.model_json_schema()}}}}


def image_routes(ctx: AppContext) -> APIRouter:
    """Return the routes for images, which LocalAI has under `/v1` and without it."""
    router = APIRouter(prefix="/images", tags=["LocalAI"])

    @router.post("/inpainting", openapi_extra=_documented(InpaintingForm, "multipart/form-data"))
    async def inpainting(request: Request) -> Response:
        """Paint an image again where its mask is white."""
        fields, inputs = await read_fields(request, ctx.settings.max_upload_bytes, InpaintingForm)
        wanted = to_inpainting(check_fields(InpaintingForm, fields), inputs)
        return await _answer(ctx, request, wanted)

    @router.post("/upscale", openapi_extra=_documented(UpscaleForm, "multipart/form-data"))
    async def upscale(request: Request) -> Response:
        """Make an image larger."""
        fields, inputs = await read_fields(request, ctx.settings.max_upload_bytes, UpscaleForm)
        form = check_fields(UpscaleForm, fields)
        check_scale(form.scale)
        if any(isinstance(source, str) for source in inputs.get("image", ())):
            raise InvalidParameterError("'image' must be a file.", hint="Send it as one.", parameter="image")
        wanted = to_upscaling(form, inputs, await asyncio.to_thread(_enlarger, ctx, form))
        limits = MediaLimits(max_pixels=ctx.settings.max_image_pixels, max_bytes=ctx.settings.max_upload_bytes)
        with wanted.rename_error_params():
            work = upscale_image(ctx.generation, wanted.request, form.scale, limits)
            generation = await cancel_on_disconnect(request.receive, work)
        return await _told(ctx, request, wanted, generation)

    return router


def video_routes(ctx: AppContext) -> APIRouter:
    """Return the route for videos, which LocalAI has without `/v1` alone."""
    router = APIRouter(tags=["LocalAI"])

    @router.post("/video", openapi_extra=_documented(VideoRequest, "application/json"))
    async def video(request: Request) -> Response:
        """Make a video, and answer when it is made."""
        body = check_fields(VideoRequest, await read_json(request, EXAMPLE))
        wanted = await asyncio.to_thread(_video, ctx, body)
        return await _answer(ctx, request, wanted)

    return router


def _enlarger(ctx: AppContext, form: UpscaleForm) -> PipelineEntry | None:
    """Return the pipeline that is to make an image larger, where it is known before its model is fetched.

    Raises:
        InvalidParameterError: It does no such thing.
    """
    if not form.model:
        return None
    entry = ctx.models.pipeline(form.model, form.task or "image-to-image")
    check_enlarges(entry, form.model)
    return entry


def _video(ctx: AppContext, body: VideoRequest) -> ParsedRequest:
    """Return what a request for a video wants."""
    references = {name: source for name in (START, REFERENCE) if (source := getattr(body, name))}
    if len(references) > 1:
        message = f"'{START}' and '{REFERENCE}' are the same."
        raise InvalidParameterError(message, hint="Give one of them.", parameter=REFERENCE)
    maker = select_pipeline(
        ctx.models, body.model or first_model_for(ctx.models, "video"), "video", body.task, _reference(body, references)
    )
    media = media_of(body, maker)
    inputs: dict[str, tuple[Source, ...]] = {name: (getattr(body, given),) for given, name in media.items()}
    if references and maker.reference is not None:
        inputs[maker.reference] = tuple(references.values())
        media |= dict.fromkeys(references, maker.reference)
    spelled = {name: given for given, name in media.items()}
    return to_video(body, maker, inputs, spelled)


def _reference(body: VideoRequest, references: dict[str, str]) -> tuple[str, Kind] | None:
    """Return the client's field of the medium that decides which pipeline it is for, and its kind."""
    for name, source in references.items():
        return name, kind_of(source)
    return ("audio", "audio") if body.audio else None


async def _answer(ctx: AppContext, request: Request, wanted: ParsedRequest) -> Response:
    """Run a request and answer it."""
    with wanted.rename_error_params():
        generation = await cancel_on_disconnect(request.receive, ctx.generation.generate(wanted.request))
    return await _told(ctx, request, wanted, generation)


async def _told(ctx: AppContext, request: Request, wanted: ParsedRequest, generation: Generation) -> Response:
    """Return the answer that tells of a generation."""
    address = base_url(ctx, request)
    return SafeJson(await to_answer(generation, wanted.response_format, ctx.results, address, wanted.warnings))
