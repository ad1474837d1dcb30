"""The routes that make videos: each is a job, which is asked for until it has ended."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import FileResponse, Response

from octabox.errors import GenerationNotFoundError, InvalidParameterError, NotFoundError, RequestError
from octabox.frontends.http.bodies import check_fields, is_form, read_json
from octabox.frontends.http.context import AppContext
from octabox.frontends.http.disconnect import cancel_on_disconnect
from octabox.frontends.http.errors import rename_error_params
from octabox.frontends.http.middleware import SafeJson
from octabox.frontends.http.multipart import REFERENCE, read_fields
from octabox.frontends.http.openai.thumbnails import MEDIA_TYPE, thumbnail
from octabox.frontends.http.openai.video_jobs import VideoNote, VideoRequest, to_request, told
from octabox.frontends.http.results import Result
from octabox.frontends.naming.video import kind_of
from octabox.service.jobs import Job
from octabox.service.selection.models import PipelineMatch, first_model_for, select_pipeline
from octabox.types import Source

#: What can be downloaded of a video.
VARIANTS = ("video", "thumbnail")


def _documented() -> dict[str, Any]:
    """Return what the server's own documentation says of a body that is read by hand."""
    schema = VideoRequest.model_json_schema()
    content = {media_type: {"schema": schema} for media_type in ("multipart/form-data", "application/json")}
    return {"requestBody": {"required": True, "content": content}}


def routes(ctx: AppContext) -> APIRouter:
    """Return the routes."""
    router = APIRouter(prefix="/videos", tags=["videos"])

    @router.post("", openapi_extra=_documented())
    async def create(request: Request) -> Response:
        """Start a video; what is wrong with the request is answered at once."""
        return SafeJson(told(*await _started(ctx, request)))

    @router.get("")
    async def videos(
        limit: Annotated[int, Query(ge=1, le=100)] = 20,
        order: Literal["asc", "desc"] = "desc",
        after: str | None = None,
    ) -> Response:
        """List the videos that are being made or are kept."""
        known = _after(ctx, after, newest_first=order == "desc")
        data = known[:limit]
        ends = {"first_id": data[0]["id"], "last_id": data[-1]["id"]} if data else {}
        return SafeJson({"object": "list", "data": data, **ends, "has_more": len(known) > limit})

    @router.get("/{video_id}")
    async def video(video_id: str) -> Response:
        """Tell how far a video is."""
        return SafeJson(told(*_find(ctx, video_id)))

    @router.get("/{video_id}/content")
    async def content(video_id: str, variant: str = VARIANTS[0]) -> Response:
        """Return a finished video, or its first frame."""
        _check_variant(variant)
        file = _file(ctx, _find(ctx, video_id)[0])
        headers = {"x-content-type-options": "nosniff"}
        if variant == VARIANTS[0]:
            return FileResponse(file.path, media_type=file.media_type, headers=headers)
        return Response(
            await asyncio.to_thread(thumbnail, file.path, file.media_type), media_type=MEDIA_TYPE, headers=headers
        )

    @router.delete("/{video_id}")
    async def delete(video_id: str) -> Response:
        """Delete a video; one that is still being made is cancelled."""
        job, _ = _find(ctx, video_id)
        await ctx.jobs.forget(job)
        return SafeJson({"id": job.id, "object": "video.deleted", "deleted": True})

    return router


async def _read(ctx: AppContext, request: Request) -> tuple[VideoRequest, dict[str, tuple[Source, ...]]]:
    """Return the fields of a request, and its media by field."""
    if is_form(request):
        fields, media = await read_fields(request, ctx.settings.max_upload_bytes, VideoRequest)
    else:
        fields, media = await read_json(request), {}
    body = check_fields(VideoRequest, fields)
    reference = body.input_reference
    if isinstance(reference, dict):
        url = reference.get("image_url")
        if not isinstance(url, str) or not url:
            hint = "Give an image_url, or send the file with the form."
            raise InvalidParameterError(f"'{REFERENCE}' has no image_url.", hint=hint, parameter=REFERENCE)
        reference = url
    if reference:
        media.setdefault(REFERENCE, (reference,))
    return body, media


def _placed(
    ctx: AppContext, body: VideoRequest, media: dict[str, tuple[Source, ...]]
) -> tuple[PipelineMatch, dict[str, tuple[Source, ...]]]:
    """Return the pipeline that makes a video, and the media by its parameters."""
    model = body.model or first_model_for(ctx.models, "video")
    inputs = dict(media)
    references = inputs.pop(REFERENCE, ())
    if len(references) > 1:
        raise InvalidParameterError(f"'{REFERENCE}' is given twice.", parameter=REFERENCE)
    wanted = (REFERENCE, kind_of(references[0])) if references else None
    maker = select_pipeline(ctx.models, model, "video", body.task, wanted)
    if maker.reference is not None:
        if maker.reference in inputs or maker.reference in body.others:
            message = f"'{REFERENCE}' and '{maker.reference}' are the same."
            raise InvalidParameterError(message, hint="Give one of them.", parameter=REFERENCE)
        inputs[maker.reference] = references
    return maker, inputs


async def _started(ctx: AppContext, request: Request) -> tuple[Job, VideoNote]:
    """Start the video that a request asks for."""
    body, inputs = await _read(ctx, request)
    maker, inputs = await asyncio.to_thread(_placed, ctx, body, inputs)
    wanted, note = to_request(body, maker, inputs)
    job = ctx.jobs.start(wanted, keep=True, note=note)
    try:
        with rename_error_params(note.spelled):
            await cancel_on_disconnect(request.receive, _begun(job))
    except BaseException:
        await ctx.jobs.forget(job)
        raise
    return job, note


async def _begun(job: Job) -> None:
    """Wait until a job waits in the queue; what is wrong with its request comes before that.

    Raises:
        OctaboxError: It has failed already.
    """
    await job.begun.wait()
    if job.error is not None:
        raise job.error


def _after(ctx: AppContext, last: str | None, *, newest_first: bool) -> list[dict[str, Any]]:
    """Return the videos of the list, or those that follow one of them."""
    known = [told(job, job.note) for job in ctx.jobs.list() if isinstance(job.note, VideoNote)]
    known = known[::-1] if newest_first else known
    if last is None:
        return known
    _find(ctx, last)
    return known[[each["id"] for each in known].index(last) + 1 :]


def _check_variant(variant: str) -> None:
    if variant not in VARIANTS:
        message = f"'variant' must be video or thumbnail, not {variant[:50]!r}."
        raise InvalidParameterError(message, parameter="variant", choices=VARIANTS)


def _find(ctx: AppContext, video_id: str) -> tuple[Job, VideoNote]:
    """Return a video's job, and what is remembered of its request."""
    job = ctx.jobs.find(video_id)
    if not isinstance(job.note, VideoNote):
        raise GenerationNotFoundError(f"There is no video '{video_id}'.", hint="It is a request of another kind.")
    return job, job.note


def _file(ctx: AppContext, job: Job) -> Result:
    """Return the file of a finished video."""
    if job.result is None:
        status = "has failed" if job.error else "is not finished"
        hint = "Its `error` says why." if job.error else "Ask for its status until that is completed."
        raise RequestError(f"Video '{job.id}' {status}.", hint=hint)
    kinds = [artifact.kind for artifact in job.result.artifacts]
    found = ctx.results.find(job.files[kinds.index("video")]) if "video" in kinds else None
    if found is None:
        raise NotFoundError(f"The file of video '{job.id}' is gone.", hint="Results are kept for a while only.")
    return found
