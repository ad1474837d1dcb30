"""Routes that start a generation, return its status, and cancel it."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from fastapi import APIRouter, Request
from fastapi.responses import Response

from octabox.frontends.http.bodies import body_description
from octabox.frontends.http.context import AppContext
from octabox.frontends.http.disconnect import cancel_on_disconnect
from octabox.frontends.http.errors import rename_error_params
from octabox.frontends.http.middleware import SafeJson
from octabox.frontends.http.native.generations.events import to_events
from octabox.frontends.http.native.generations.forms import read_request
from octabox.frontends.http.native.generations.responses import job_to_json, output_to_json, output_urls, to_response
from octabox.frontends.http.native.generations.schema import body_schema
from octabox.frontends.http.native.generations.translate import CLIENT_NAMES, ParsedRequest, to_request
from octabox.frontends.http.responses import base_url
from octabox.frontends.http.sse import EventStream, first_of
from octabox.service.events import result_of
from octabox.service.jobs import Job
from octabox.types import Event


def routes(ctx: AppContext) -> APIRouter:
    """Return the routes."""
    router = APIRouter(prefix="/generations", tags=["generations"])
    json_or_form = body_description(body_schema, "application/json", "multipart/form-data")

    @router.post("", openapi_extra=json_or_form)
    async def generate(request: Request) -> Response:
        """Generate any output of a model's pipelines."""
        body, inputs = await read_request(request, ctx.settings.max_upload_bytes)
        parsed = to_request(body, inputs)
        job = ctx.jobs.start(parsed.request, keep=parsed.as_links, note=parsed.warnings)
        events = ctx.jobs.follow(job)
        try:
            with rename_error_params(CLIENT_NAMES):
                if body.stream:
                    return await _respond_with_events(ctx, request, job, events, parsed)
                generation = await cancel_on_disconnect(request.receive, result_of(events))
        except BaseException:
            # A generator that was never started does not cancel its job.
            await ctx.jobs.cancel(job)
            raise
        urls = output_urls(job, len(generation.artifacts), base_url(ctx, request))
        outputs = [await output_to_json(*each) for each in zip(generation.artifacts, urls, strict=True)]
        return SafeJson(to_response(generation, outputs, parsed.warnings))

    @router.get("/{job_id}")
    async def status(job_id: str, request: Request) -> Response:
        """Return the status of a request, and its result."""
        return SafeJson(job_to_json(ctx.jobs.find(job_id), base_url(ctx, request)))

    @router.delete("/{job_id}")
    async def delete(job_id: str, request: Request) -> Response:
        """Cancel a request that waits or runs; delete the result of one that has ended."""
        job = ctx.jobs.find(job_id)
        deleted = job.ended is not None
        await (ctx.jobs.forget(job) if deleted else ctx.jobs.cancel(job))
        return SafeJson({**job_to_json(job, base_url(ctx, request)), "result": None, "deleted": deleted})

    return router


async def _respond_with_events(
    ctx: AppContext, request: Request, job: Job, events: AsyncGenerator[Event, None], parsed: ParsedRequest
) -> Response:
    """Return a stream of events; an error before the first event is raised."""
    first = await cancel_on_disconnect(request.receive, first_of(events))
    return EventStream(to_events(job, first, events, base_url(ctx, request), parsed.warnings), events)
