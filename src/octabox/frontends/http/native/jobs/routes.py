"""Routes for background jobs: accept, list, follow, change, cancel and delete them."""

from __future__ import annotations

import time
from collections import Counter
from typing import Annotated, Literal

from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import Response

from octabox.errors import AuthenticationError, InvalidParameterError, SecurityError
from octabox.frontends.http.background import accept_jobs, accepted_headers, poll_headers
from octabox.frontends.http.bodies import body_description, read_json
from octabox.frontends.http.context import AppContext
from octabox.frontends.http.middleware import SafeJson
from octabox.frontends.http.native.generations.responses import job_to_json
from octabox.frontends.http.native.generations.translate import CLIENT_NAMES
from octabox.frontends.http.native.jobs.bodies import read_optional, read_submissions
from octabox.frontends.http.native.jobs.events import parse_event_id, to_events
from octabox.frontends.http.native.jobs.outputs import add_output_routes
from octabox.frontends.http.native.jobs.schema import (
    JobChange,
    Pause,
    Prune,
    parse_body,
    parse_change,
    submission_schema,
)
from octabox.frontends.http.responses import base_url
from octabox.frontends.http.sse import EventStream
from octabox.security.keys import ApiKeys
from octabox.service.jobs import JobQuery, StoredJob
from octabox.service.jobs.batches import batch_status, request_counts
from octabox.service.jobs.job import STATUSES, Status
from octabox.service.jobs.queue.event_log import end_number
from octabox.service.jobs.queue.job_queue import prune

#: Maximum number of jobs of a page.
MAX_PAGE = 1000


def routes(ctx: AppContext) -> APIRouter:
    """Return the routes."""
    router = APIRouter(prefix="/jobs", tags=["jobs"])
    _add_collection(router, ctx)
    _add_queue(router, ctx)
    _add_job(router, ctx)
    add_output_routes(router, ctx)
    return router


def _add_collection(router: APIRouter, ctx: AppContext) -> None:
    """Add the routes that accept and list jobs."""
    described = body_description(submission_schema, "application/json", "multipart/form-data")

    @router.post("", status_code=202, openapi_extra=described)
    async def submit(request: Request) -> Response:
        """Store a request, or a list of requests, to run in the background; the response means that it is on disk."""
        submissions, is_batch = await read_submissions(request, ctx.settings.max_upload_bytes)
        accepted = await accept_jobs(ctx, request, submissions, CLIENT_NAMES, batch=is_batch)
        base, headers = base_url(ctx, request), accepted_headers(ctx, accepted)
        data = [job_to_json(job, base) for job in accepted.jobs]
        if not is_batch:
            return SafeJson(data[0], 202, headers)
        counts = Counter[str](job.status for job in accepted.jobs)
        state = {"status": batch_status(counts), "request_counts": request_counts(counts)}
        return SafeJson({"object": "batch", "id": accepted.jobs[0].batch, **state, "data": data}, 202, headers)

    @router.get("")
    async def jobs(
        request: Request,
        status: str | None = None,
        model: str | None = None,
        owner: str | None = None,
        batch: str | None = None,
        order: Literal["asc", "desc"] = "desc",
        after: str | None = None,
        limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 20,
    ) -> Response:
        """List jobs that wait or run, and ended ones that have not expired."""
        number = None if after is None else (await ctx.queue.find(after)).number
        statuses = _parse_statuses(status)
        query = JobQuery(
            statuses=statuses,
            model=model,
            owner=owner,
            batch=batch,
            after=number,
            newest_first=order == "desc",
            limit=limit + 1,
        )
        found = await ctx.queue.list(query)
        data = [job_to_json(job, base_url(ctx, request)) for job in found[:limit]]
        ends = {"first_id": data[0]["id"], "last_id": data[-1]["id"]} if data else {}
        state: dict[str, object] = {"counts": await ctx.queue.counts(), "paused": ctx.queue.controls.paused}
        if batch is not None:
            state["request_counts"] = request_counts(await ctx.queue.counts(batch))
        return SafeJson({"object": "list", "data": data, **ends, "has_more": len(found) > limit, **state})


def _add_queue(router: APIRouter, ctx: AppContext) -> None:
    """Add the routes for the whole queue."""
    admins = ApiKeys(key.get_secret_value() for key in ctx.settings.admin_keys)

    @router.post("/pause", openapi_extra=body_description(Pause.model_json_schema, "application/json"))
    async def pause(request: Request) -> Response:
        """Start no more jobs of a model, or of all models; those that run go on."""
        _check_admin(admins, request)
        body = parse_body(Pause, await read_optional(request))
        await ctx.queue.open()
        await ctx.queue.controls.pause(body.model)
        return SafeJson({"paused": ctx.queue.controls.paused})

    @router.post("/resume", openapi_extra=body_description(Pause.model_json_schema, "application/json"))
    async def resume(request: Request) -> Response:
        """Start jobs of a model again, or those of all models."""
        _check_admin(admins, request)
        body = parse_body(Pause, await read_optional(request))
        await ctx.queue.open()
        await ctx.queue.controls.resume(body.model)
        return SafeJson({"paused": ctx.queue.controls.paused})

    @router.post("/prune", openapi_extra=body_description(Prune.model_json_schema, "application/json"))
    async def delete_ended(request: Request) -> Response:
        """Delete ended jobs with their results."""
        body = parse_body(Prune, await read_optional(request))
        before = None if body.older_than is None else time.time() - body.older_than
        query = JobQuery(statuses=tuple(body.status), model=body.model, ended_before=before)
        return SafeJson({"deleted": await prune(ctx.queue, query)})


def _check_admin(admins: ApiKeys, request: Request) -> None:
    """Check that a request has an admin key, if the server has some.

    Raises:
        SecurityError: It has none.
    """
    try:
        admins.check(request.headers.get("authorization"))
    except AuthenticationError as error:
        message = "Only an administrator may pause and resume the queue, which has the jobs of all clients."
        raise SecurityError(message, hint="Send one of `admin_keys` as the API key.") from error


def _add_job(router: APIRouter, ctx: AppContext) -> None:
    """Add the routes for one job."""

    def respond(job: StoredJob, request: Request, **fields: object) -> Response:
        body = {**job_to_json(job, base_url(ctx, request)), **fields}
        return SafeJson(body, headers=poll_headers(ctx, job))

    @router.get("/{job_id}")
    async def status(job_id: str, request: Request) -> Response:
        """Return the status of a job, and its result."""
        return respond(await ctx.queue.find(job_id), request)

    @router.get("/{job_id}/events")
    async def events(
        job_id: str, request: Request, last_event_id: Annotated[str | None, Header()] = None, after: str | None = None
    ) -> Response:
        """Follow a job: its status and its progress as server-sent events, from the last received one on."""
        last = parse_event_id(last_event_id or after)
        job = await ctx.queue.find(job_id)
        followed = await ctx.queue.follow(job_id, last)
        if job.ended is not None and last is not None and last >= end_number(job.attempts):
            # The client has the end; this status ends its attempts to connect again.
            await followed.aclose()
            return Response(status_code=204)
        return EventStream(to_events(ctx, job_id, followed, base_url(ctx, request)), followed)

    @router.patch("/{job_id}", openapi_extra=body_description(JobChange.model_json_schema, "application/json"))
    async def change(job_id: str, request: Request) -> Response:
        """Change the priority or the place of a job that waits."""
        body = parse_change(await read_json(request, '{"priority": 1}'))
        job = await ctx.queue.find(job_id)
        position = body.position or ("before" if body.before else "after" if body.after else None)
        other_id = body.before or body.after
        other = await ctx.queue.find(other_id) if other_id else None
        await ctx.queue.controls.change(job, body.priority, position, other)
        return respond(await ctx.queue.find(job_id), request)

    @router.post("/{job_id}/cancel")
    async def cancel(job_id: str, request: Request) -> Response:
        """Cancel a job that waits or runs."""
        return respond(await ctx.queue.cancel(job_id), request)

    @router.post("/{job_id}/retry")
    async def retry(job_id: str, request: Request) -> Response:
        """Run a job again that has failed or was cancelled."""
        return respond(await ctx.queue.retry(job_id), request)

    @router.delete("/{job_id}")
    async def delete(job_id: str, request: Request) -> Response:
        """Delete a job and its results; one that waits or runs is cancelled."""
        return respond(await ctx.queue.delete(job_id), request, deleted=True)


def _parse_statuses(text: str | None) -> tuple[Status, ...]:
    """Return the statuses of a list that is separated by commas.

    Raises:
        InvalidParameterError: There is no such status.
    """
    names = [name.strip() for name in (text or "").split(",") if name.strip()]
    for name in names:
        if name not in STATUSES:
            message = f"'status' must be a list of {', '.join(STATUSES)}, not {name[:50]!r}."
            raise InvalidParameterError(message, parameter="status", choices=STATUSES)
    return tuple(status for status in STATUSES if status in names)
