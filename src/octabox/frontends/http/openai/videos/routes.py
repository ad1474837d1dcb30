"""Routes of OpenAI's videos API. Each video is a job, whose status clients poll."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import FileResponse, Response

from octabox.errors import InvalidParameterError, NotFoundError, RequestError
from octabox.frontends.http.background import accept_jobs, accepted_headers, poll_headers
from octabox.frontends.http.bodies import body_description, check_fields, is_form, read_json
from octabox.frontends.http.context import AppContext
from octabox.frontends.http.middleware import SafeJson
from octabox.frontends.http.multipart import REFERENCE, read_fields
from octabox.frontends.http.openai.videos.responses import job_to_json
from octabox.frontends.http.openai.videos.schema import VideoRequest
from octabox.frontends.http.openai.videos.thumbnails import MEDIA_TYPE, thumbnail
from octabox.frontends.http.openai.videos.translate import VideoNote, match_pipeline, parse_note, to_request
from octabox.frontends.http.results import Result
from octabox.service.jobs import Acceptance, Job, JobQuery, StoredJob, Submission
from octabox.service.jobs.errors import ResultExpiredError
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
        accepted, note = await _start(ctx, request)
        return SafeJson(job_to_json(accepted.jobs[0], note), headers=accepted_headers(ctx, accepted))

    @router.get("")
    async def videos(
        limit: Annotated[int, Query(ge=1, le=100)] = 20,
        order: Literal["asc", "desc"] = "desc",
        after: str | None = None,
    ) -> Response:
        """List running videos, and ended ones that have not expired."""
        number = None if after is None else (await _find(ctx, after))[0].number
        query = JobQuery(kind="video", after=number, newest_first=order == "desc", limit=limit + 1)
        found = [job_to_json(job, parse_note(job)) for job in await ctx.queue.list(query)]
        data = found[:limit]
        ends = {"first_id": data[0]["id"], "last_id": data[-1]["id"]} if data else {}
        return SafeJson({"object": "list", "data": data, **ends, "has_more": len(found) > limit})

    @router.get("/{video_id}")
    async def video(video_id: str) -> Response:
        """Return the status of a video."""
        job, note = await _find(ctx, video_id)
        return SafeJson(job_to_json(job, note), headers=poll_headers(ctx, job))

    @router.get("/{video_id}/content")
    async def content(video_id: str, variant: str = VARIANTS[0]) -> Response:
        """Return the file of a finished video, or its first frame."""
        _check_variant(variant)
        file = await asyncio.to_thread(_find_file, ctx, (await _find(ctx, video_id))[0])
        headers = {"x-content-type-options": "nosniff"}
        if variant == VARIANTS[0]:
            return FileResponse(file.path, media_type=file.media_type, headers=headers)
        image = await asyncio.to_thread(thumbnail, file.path, file.media_type)
        return Response(image, media_type=MEDIA_TYPE, headers=headers)

    @router.delete("/{video_id}")
    async def delete(video_id: str) -> Response:
        """Delete a video; a running one is cancelled."""
        job, _ = await _find(ctx, video_id)
        await ctx.queue.delete(video_id)
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
        media[REFERENCE] = (*media.get(REFERENCE, ()), reference)
    return body, media


async def _start(ctx: AppContext, request: Request) -> tuple[Acceptance, VideoNote]:
    """Accept the video that a request asks for."""
    body, media = await _read(ctx, request)
    match, inputs = await asyncio.to_thread(lambda: match_pipeline(ctx.models.snapshot(), body, media))
    generation_request, note = to_request(body, match, inputs)
    submission = Submission(generation_request, "video", note=asdict(note))
    accepted = await accept_jobs(ctx, request, [submission], note.client_names)
    return accepted, parse_note(accepted.jobs[0])


def _check_variant(variant: str) -> None:
    """Raise an error if there is no such download."""
    if variant not in VARIANTS:
        message = f"'variant' must be video or thumbnail, not {variant[:50]!r}."
        raise InvalidParameterError(message, parameter="variant", choices=VARIANTS)


async def _find(ctx: AppContext, video_id: str) -> tuple[StoredJob, VideoNote]:
    """Return a video's job, and what it keeps of its request."""
    job = await ctx.queue.find(video_id, "video")
    return job, parse_note(job)


def _find_file(ctx: AppContext, job: Job) -> Result:
    """Return the file of a finished video."""
    if isinstance(job.error, ResultExpiredError):
        raise job.error
    if job.result is None:
        status = "has failed" if job.error else "is not finished"
        hint = "The reason is in its `error`." if job.error else "Poll its status until it is completed."
        raise RequestError(f"Video '{job.id}' {status}.", hint=hint)
    kinds = [artifact.kind for artifact in job.result.artifacts]
    if "video" not in kinds:
        made = ", ".join(dict.fromkeys(kinds)) or "nothing"
        message = f"'{job.id}' has no video: the model returned {made}."
        raise NotFoundError(message, hint=f"`GET /v1/jobs/{job.id}` has its outputs.")
    found = ctx.results.find(job.files[kinds.index("video")])
    if found is None:
        raise NotFoundError(f"The file of video '{job.id}' has expired.", hint="Generate the video again.")
    return found
