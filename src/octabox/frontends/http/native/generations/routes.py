"""Routes that start a generation, return its status, and cancel it."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator

from fastapi import APIRouter, Request
from fastapi.responses import Response

from octabox.errors import GenerationNotFoundError
from octabox.frontends.http.background import accept_jobs, accepted_headers, poll_headers
from octabox.frontends.http.bodies import body_description
from octabox.frontends.http.context import AppContext
from octabox.frontends.http.disconnect import cancel_on_disconnect
from octabox.frontends.http.middleware import SafeJson
from octabox.frontends.http.native.generations.events import to_events
from octabox.frontends.http.native.generations.forms import read_request
from octabox.frontends.http.native.generations.responses import job_to_json, output_to_json, output_urls, to_response
from octabox.frontends.http.native.generations.schema import body_schema
from octabox.frontends.http.native.generations.translate import CLIENT_NAMES, ParsedRequest, to_request, to_submission
from octabox.frontends.http.responses import base_url
from octabox.frontends.http.sse import EventStream, StartedEvents
from octabox.frontends.naming.renaming import rename_error_params
from octabox.service.events import result_of
from octabox.service.jobs import Job, StoredJob
from octabox.service.jobs.errors import JobStoreError
from octabox.types import Event


def routes(ctx: AppContext) -> APIRouter:
    """Return the routes."""
    router = APIRouter(prefix="/generations", tags=["generations"])
    json_or_form = body_description(body_schema, "application/json", "multipart/form-data")

    @router.post("", openapi_extra=json_or_form)
    async def generate(request: Request) -> Response:
        """Generate any output of a model's pipelines."""
        body, inputs = await read_request(request, ctx.settings.max_upload_bytes)
        if body.background:
            accepted = await accept_jobs(ctx, request, [to_submission(body, inputs)], CLIENT_NAMES)
            job_body = job_to_json(accepted.jobs[0], base_url(ctx, request))
            return SafeJson(job_body, 202, accepted_headers(ctx, accepted))
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
        found = await _find(ctx, job_id)
        headers = poll_headers(ctx, found) if isinstance(found, StoredJob) else {}
        return SafeJson(job_to_json(found, base_url(ctx, request)), headers=headers)

    @router.delete("/{job_id}")
    async def delete(job_id: str, request: Request) -> Response:
        """Cancel a request that waits or runs; delete the result of one that has ended."""
        job = await _find(ctx, job_id)
        deleted = job.ended is not None
        if isinstance(job, StoredJob):
            await (ctx.queue.delete(job_id) if deleted else ctx.queue.cancel(job_id))
        else:
            await (ctx.jobs.forget(job) if deleted else ctx.jobs.cancel(job))
        return SafeJson({**job_to_json(job, base_url(ctx, request)), "result": None, "deleted": deleted})

    return router


async def _find(ctx: AppContext, job_id: str) -> Job:
    """Return a request by its id: one that a client waits for or has waited for, or else a background job."""
    try:
        return ctx.jobs.find(job_id)
    except GenerationNotFoundError:
        with contextlib.suppress(GenerationNotFoundError, JobStoreError):
            return await ctx.queue.find(job_id, "generation")
        raise


async def _respond_with_events(
    ctx: AppContext, request: Request, job: Job, events: AsyncGenerator[Event, None], parsed: ParsedRequest
) -> Response:
    """Return a stream of events; an early error is raised."""
    started = StartedEvents(events)
    try:
        await cancel_on_disconnect(request.receive, started.start())
    except BaseException:
        await started.aclose()
        raise
    return EventStream(to_events(job, started, base_url(ctx, request), parsed.warnings), started)
