"""Routes of OpenAI's videos API. Each video is a job, whose status clients poll."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import FileResponse, Response

from octabox.errors import GenerationNotFoundError, InvalidParameterError, NotFoundError, RequestError
from octabox.frontends.http.bodies import body_description, check_fields, is_form, read_json
from octabox.frontends.http.context import AppContext
from octabox.frontends.http.disconnect import cancel_on_disconnect
from octabox.frontends.http.errors import rename_error_params
from octabox.frontends.http.middleware import SafeJson
from octabox.frontends.http.multipart import REFERENCE, read_fields
from octabox.frontends.http.openai.videos.responses import job_to_json
from octabox.frontends.http.openai.videos.schema import VideoRequest
from octabox.frontends.http.openai.videos.thumbnails import MEDIA_TYPE, thumbnail
from octabox.frontends.http.openai.videos.translate import VideoNote, match_pipeline, to_request
from octabox.frontends.http.results import Result
from octabox.service.jobs import Job
from octabox.types import Source

#: Downloads of a video; the first is the default.
VARIANTS = ("video", "thumbnail")


def routes(ctx: AppContext) -> APIRouter:
    """Return the routes."""
    router = APIRouter(prefix="/videos", tags=["videos"])
    form_or_json = body_description(VideoRequest.model_json_schema, "multipart/form-data", "application/json")

    @router.post("", openapi_extra=form_or_json)
    async def create(request: Request) -> Response:
        """Start a video. Errors in the request are returned immediately."""
        return SafeJson(job_to_json(*await _start(ctx, request)))

    @router.get("")
    async def videos(
        limit: Annotated[int, Query(ge=1, le=100)] = 20,
        order: Literal["asc", "desc"] = "desc",
        after: str | None = None,
    ) -> Response:
        """List running videos, and ended ones that have not expired."""
        found = _list_videos(ctx, after, newest_first=order == "desc")
        data = found[:limit]
        ends = {"first_id": data[0]["id"], "last_id": data[-1]["id"]} if data else {}
        return SafeJson({"object": "list", "data": data, **ends, "has_more": len(found) > limit})

    @router.get("/{video_id}")
    async def video(video_id: str) -> Response:
        """Return the status of a video."""
        return SafeJson(job_to_json(*_find(ctx, video_id)))

    @router.get("/{video_id}/content")
    async def content(video_id: str, variant: str = VARIANTS[0]) -> Response:
        """Return the file of a finished video, or its first frame."""
        _check_variant(variant)
        file = _find_file(ctx, _find(ctx, video_id)[0])
        headers = {"x-content-type-options": "nosniff"}
        if variant == VARIANTS[0]:
            return FileResponse(file.path, media_type=file.media_type, headers=headers)
        image = await asyncio.to_thread(thumbnail, file.path, file.media_type)
        return Response(image, media_type=MEDIA_TYPE, headers=headers)

    @router.delete("/{video_id}")
    async def delete(video_id: str) -> Response:
        """Delete a video; a running one is cancelled."""
        job, _ = _find(ctx, video_id)
        await ctx.jobs.forget(job)
        return SafeJson({"id": job.id, "object": "video.deleted", "deleted": True})

    return router


async def _read(ctx: AppContext, request: Request) -> tuple[VideoRequest, dict[str, tuple[Source, ...]]]:
    """Return the body of a request, and its media by field."""
    if is_form(request):
        fields, media = await read_fields(request, ctx.settings.max_upload_bytes, VideoRequest)
    else:
        fields, media = await read_json(request), {}
    body = check_fields(VideoRequest, fields)
    reference = body.input_reference
    if isinstance(reference, dict):
        url = reference.get("image_url")
        if not isinstance(url, str) or not url:
            hint = "Send an image_url, or the file in a form."
            raise InvalidParameterError(f"'{REFERENCE}' has no image_url.", hint=hint, parameter=REFERENCE)
        reference = url
    if reference:
        media.setdefault(REFERENCE, (reference,))
    return body, media


async def _start(ctx: AppContext, request: Request) -> tuple[Job, VideoNote]:
    """Start the video that a request asks for."""
    body, media = await _read(ctx, request)
    match, inputs = await asyncio.to_thread(match_pipeline, ctx.models, body, media)
    generation_request, note = to_request(body, match, inputs)
    job = ctx.jobs.start(generation_request, keep=True, note=note)
    try:
        with rename_error_params(note.client_names):
            await cancel_on_disconnect(request.receive, _wait_until_queued(job))
    except BaseException:
        await ctx.jobs.forget(job)
        raise
    return job, note


async def _wait_until_queued(job: Job) -> None:
    """Wait until a job is in the queue, which follows the validation of its request.

    Raises:
        OctaboxError: The job has failed.
    """
    await job.begun.wait()
    if job.error is not None:
        raise job.error


def _list_videos(ctx: AppContext, after: str | None, *, newest_first: bool) -> list[dict[str, Any]]:
    """Return all videos, or those that follow one of them."""
    found = [job_to_json(job, job.note) for job in ctx.jobs.list() if isinstance(job.note, VideoNote)]
    found = found[::-1] if newest_first else found
    if after is None:
        return found
    _find(ctx, after)
    return found[[each["id"] for each in found].index(after) + 1 :]


def _check_variant(variant: str) -> None:
    """Raise an error if there is no such download."""
    if variant not in VARIANTS:
        message = f"'variant' must be video or thumbnail, not {variant[:50]!r}."
        raise InvalidParameterError(message, parameter="variant", choices=VARIANTS)


def _find(ctx: AppContext, video_id: str) -> tuple[Job, VideoNote]:
    """Return a video's job, and what it keeps of its request."""
    job = ctx.jobs.find(video_id)
    if not isinstance(job.note, VideoNote):
        hint = "It is the id of another kind of request."
        raise GenerationNotFoundError(f"There is no video '{video_id}'.", hint=hint)
    return job, job.note


def _find_file(ctx: AppContext, job: Job) -> Result:
    """Return the file of a finished video."""
    if job.result is None:
        status = "has failed" if job.error else "is not finished"
        hint = "The reason is in its `error`." if job.error else "Poll its status until it is completed."
        raise RequestError(f"Video '{job.id}' {status}.", hint=hint)
    kinds = [artifact.kind for artifact in job.result.artifacts]
    found = ctx.results.find(job.files[kinds.index("video")]) if "video" in kinds else None
    if found is None:
        raise NotFoundError(f"The file of video '{job.id}' has expired.", hint="Generate the video again.")
    return found
