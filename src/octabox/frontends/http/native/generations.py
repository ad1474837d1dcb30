"""The routes that make things, tell how far they are, and end them."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from octabox.frontends.http.context import AppContext
from octabox.frontends.http.disconnect import cancel_on_disconnect
from octabox.frontends.http.errors import rename_error_params
from octabox.frontends.http.links import base_url
from octabox.frontends.http.middleware import SafeJson
from octabox.frontends.http.native.events import to_events
from octabox.frontends.http.native.forms import read_request
from octabox.frontends.http.native.responses import addresses, job_to_json, output_to_json, whole
from octabox.frontends.http.native.schema import body_schema
from octabox.frontends.http.native.translate import SPELLED, ParsedRequest, to_request
from octabox.frontends.http.sse import EventStream, ended_by_errors, first_of
from octabox.service.events import result_of
from octabox.service.jobs import Job
from octabox.types import Event


def _documented() -> dict[str, Any]:
    """Return what the server's own documentation says of a body that is read by hand."""
    content = {media_type: {"schema": body_schema()} for media_type in ("application/json", "multipart/form-data")}
    return {"requestBody": {"required": True, "content": content}}


def routes(ctx: AppContext) -> APIRouter:
    """Return the routes."""
    router = APIRouter(prefix="/generations", tags=["generations"])

    @router.post("", openapi_extra=_documented())
    async def generate(request: Request) -> Response:
        """Make anything that a model's pipelines make."""
        body, inputs = await read_request(request, ctx.settings.max_upload_bytes)
        wanted = to_request(body, inputs)
        job = ctx.jobs.start(wanted.request, keep=wanted.as_links, note=wanted.warnings)
        events = ctx.jobs.follow(job)
        try:
            with rename_error_params(SPELLED):
                if body.stream:
                    return await _stream(ctx, request, job, events, wanted)
                generation = await cancel_on_disconnect(request.receive, result_of(events))
        except BaseException:
            # Events that nobody has asked for yet do not end what they come from.
            await ctx.jobs.cancel(job)
            raise
        places = addresses(job, len(generation.artifacts), base_url(ctx, request))
        outputs = [await output_to_json(*each) for each in zip(generation.artifacts, places, strict=True)]
        return SafeJson(whole(generation, outputs, wanted.warnings))

    @router.get("/{job_id}")
    async def look(job_id: str, request: Request) -> Response:
        """Tell how far a request is, and what came of it."""
        return SafeJson(job_to_json(ctx.jobs.find(job_id), base_url(ctx, request)))

    @router.delete("/{job_id}")
    async def end(job_id: str, request: Request) -> Response:
        """Cancel a request that waits or runs; delete what is kept of one that has ended."""
        job = ctx.jobs.find(job_id)
        deleted = job.ended is not None
        await (ctx.jobs.forget(job) if deleted else ctx.jobs.cancel(job))
        return SafeJson({**job_to_json(job, base_url(ctx, request)), "result": None, "deleted": deleted})

    return router


async def _stream(
    ctx: AppContext, request: Request, job: Job, events: AsyncGenerator[Event, None], wanted: ParsedRequest
) -> Response:
    """Answer with events; what goes wrong before the first of them is an answer of its own."""
    first = await cancel_on_disconnect(request.receive, first_of(events))
    told = to_events(job, first, events, base_url(ctx, request), wanted.warnings)
    return EventStream(ended_by_errors(told), events)
