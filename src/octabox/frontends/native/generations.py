"""The routes that make things, tell how far they are, and end them."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from octabox.errors import GenerationError
from octabox.frontends.delivery import base_url
from octabox.frontends.disconnect import unless_gone
from octabox.frontends.errors import in_clients_words
from octabox.frontends.middleware import SafeJson
from octabox.frontends.native.answers import addresses, told_job, told_output, whole
from octabox.frontends.native.events import to_events
from octabox.frontends.native.forms import read_request
from octabox.frontends.native.schema import body_schema
from octabox.frontends.native.translate import SPELLED, Wanted, to_request
from octabox.frontends.services import Wire
from octabox.frontends.streams import EventStream, ended_by_errors, first_of
from octabox.service.jobs import Job
from octabox.types import Event, Generation


def _documented() -> dict[str, Any]:
    """Return what the server's own documentation says of a body that is read by hand."""
    content = {media_type: {"schema": body_schema()} for media_type in ("application/json", "multipart/form-data")}
    return {"requestBody": {"required": True, "content": content}}


def routes(wire: Wire) -> APIRouter:
    """Return the routes."""
    router = APIRouter(prefix="/generations", tags=["generations"])

    @router.post("", openapi_extra=_documented())
    async def generate(request: Request) -> Response:
        """Make anything that a model's pipelines make."""
        body, inputs = await read_request(request, wire.settings.max_upload_bytes)
        wanted = to_request(body, inputs)
        job = wire.jobs.start(wanted.request, keep=wanted.as_links, note=wanted.warnings)
        events = wire.jobs.follow(job)
        try:
            with in_clients_words(SPELLED):
                if body.stream:
                    return await _stream(wire, request, job, events, wanted)
                generation = await unless_gone(request.receive, _last(events))
        except BaseException:
            # Events that nobody has asked for yet do not end what they come from.
            await wire.jobs.cancel(job)
            raise
        places = addresses(job, len(generation.artifacts), base_url(wire, request))
        outputs = [await told_output(*each) for each in zip(generation.artifacts, places, strict=True)]
        return SafeJson(whole(generation, outputs, wanted.warnings))

    @router.get("/{job_id}")
    async def look(job_id: str, request: Request) -> Response:
        """Tell how far a request is, and what came of it."""
        return SafeJson(told_job(wire.jobs.find(job_id), base_url(wire, request)))

    @router.delete("/{job_id}")
    async def end(job_id: str, request: Request) -> Response:
        """Cancel a request that waits or runs; delete what is kept of one that has ended."""
        job = wire.jobs.find(job_id)
        deleted = job.ended is not None
        await (wire.jobs.forget(job) if deleted else wire.jobs.cancel(job))
        return SafeJson({**told_job(job, base_url(wire, request)), "result": None, "deleted": deleted})

    return router


async def _stream(
    wire: Wire, request: Request, job: Job, events: AsyncGenerator[Event, None], wanted: Wanted
) -> Response:
    """Answer with events; what goes wrong before the first of them is an answer of its own."""
    first = await unless_gone(request.receive, first_of(events))
    told = to_events(job, first, events, base_url(wire, request), wanted.warnings)
    return EventStream(ended_by_errors(told), events)


async def _last(events: AsyncGenerator[Event, None]) -> Generation:
    """Return the result that events end with."""
    try:
        async for event in events:
            if isinstance(event, Generation):
                return event
    finally:
        await events.aclose()
    raise GenerationError("The engine ended a request without a result.")
