"""The routes of LocalAI's API that OpenAI's has not: repainting, larger pictures, and clips that are waited for."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import BaseModel

from octabox.catalog.entries import PipelineEntry
from octabox.errors import InvalidParameterError
from octabox.frontends.bodies import check_fields, read_json
from octabox.frontends.delivery import base_url
from octabox.frontends.disconnect import unless_gone
from octabox.frontends.localai.answers import to_answer
from octabox.frontends.localai.schema import InpaintingForm, UpscaleForm, VideoRequest
from octabox.frontends.localai.translate import Wanted, media_of, to_inpainting, to_upscaling, to_video
from octabox.frontends.localai.upscaling import check_enlarges, check_scale, enlarged
from octabox.frontends.middleware import SafeJson
from octabox.frontends.services import Wire
from octabox.frontends.wording.clips import kind_of
from octabox.frontends.wording.forms import REFERENCE, read_fields
from octabox.frontends.wording.makers import first_maker, maker_of
from octabox.media.limits import MediaLimits
from octabox.types import Generation, Kind, Source

#: The field of the picture that a clip begins with.
START = "start_image"

#: What a request body may be.
EXAMPLE = '{"model": "...", "prompt": "..."}'


def _documented(shape: type[BaseModel], media_type: str) -> dict[str, Any]:
    """Return what the server's own documentation says of a body that is read by hand."""
    return {"requestBody": {"required": True, "content": {media_type: {"schema": shape.model_json_schema()}}}}


def picture_routes(wire: Wire) -> APIRouter:
    """Return the routes for pictures, which LocalAI has under `/v1` and without it."""
    router = APIRouter(prefix="/images", tags=["LocalAI"])

    @router.post("/inpainting", openapi_extra=_documented(InpaintingForm, "multipart/form-data"))
    async def inpainting(request: Request) -> Response:
        """Paint a picture again where its mask is white."""
        fields, inputs = await read_fields(request, wire.settings.max_upload_bytes, InpaintingForm)
        wanted = to_inpainting(check_fields(InpaintingForm, fields), inputs)
        return await _answer(wire, request, wanted)

    @router.post("/upscale", openapi_extra=_documented(UpscaleForm, "multipart/form-data"))
    async def upscale(request: Request) -> Response:
        """Make a picture larger."""
        fields, inputs = await read_fields(request, wire.settings.max_upload_bytes, UpscaleForm)
        form = check_fields(UpscaleForm, fields)
        check_scale(form.scale)
        if any(isinstance(source, str) for source in inputs.get("image", ())):
            raise InvalidParameterError("'image' must be a file.", hint="Send it as one.", parameter="image")
        wanted = to_upscaling(form, inputs, await asyncio.to_thread(_enlarger, wire, form))
        limits = MediaLimits(max_pixels=wire.settings.max_image_pixels, max_bytes=wire.settings.max_upload_bytes)
        with wanted.in_clients_words():
            work = enlarged(wire.generation, wanted.request, form.scale, limits)
            generation = await unless_gone(request.receive, work)
        return await _told(wire, request, wanted, generation)

    return router


def video_routes(wire: Wire) -> APIRouter:
    """Return the route for clips, which LocalAI has without `/v1` alone."""
    router = APIRouter(tags=["LocalAI"])

    @router.post("/video", openapi_extra=_documented(VideoRequest, "application/json"))
    async def video(request: Request) -> Response:
        """Make a clip, and answer when it is made."""
        body = check_fields(VideoRequest, await read_json(request, EXAMPLE))
        wanted = await asyncio.to_thread(_video, wire, body)
        return await _answer(wire, request, wanted)

    return router


def _enlarger(wire: Wire, form: UpscaleForm) -> PipelineEntry | None:
    """Return the pipeline that is to make a picture larger, where it is known before its model is fetched.

    Raises:
        InvalidParameterError: It does no such thing.
    """
    if not form.model:
        return None
    schema = wire.models.schema(form.model, form.task or "image-to-image")
    entry = wire.models.catalog.pipelines.get(schema.get("x-pipeline", ""))
    check_enlarges(entry, form.model)
    return entry


def _video(wire: Wire, body: VideoRequest) -> Wanted:
    """Return what a request for a clip wants."""
    references = {name: source for name in (START, REFERENCE) if (source := getattr(body, name))}
    if len(references) > 1:
        message = f"'{START}' and '{REFERENCE}' are the same."
        raise InvalidParameterError(message, hint="Give one of them.", parameter=REFERENCE)
    maker = maker_of(wire, body.model or first_maker(wire, "video"), "video", body.task, _reference(body, references))
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


async def _answer(wire: Wire, request: Request, wanted: Wanted) -> Response:
    """Run a request and answer it."""
    with wanted.in_clients_words():
        generation = await unless_gone(request.receive, wire.generation.generate(wanted.request))
    return await _told(wire, request, wanted, generation)


async def _told(wire: Wire, request: Request, wanted: Wanted, generation: Generation) -> Response:
    """Return the answer that tells of a generation."""
    address = base_url(wire, request)
    return SafeJson(await to_answer(generation, wanted.response_format, wire.results, address, wanted.warnings))
