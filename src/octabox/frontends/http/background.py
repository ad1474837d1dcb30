"""Accept background jobs, and inform clients when to ask for them again."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from starlette.requests import Request

from octabox.frontends.http.context import AppContext
from octabox.frontends.naming.renaming import rename_error_params
from octabox.service.jobs import Acceptance, StoredJob, Submission

#: Header of a client's key, with which the same request is accepted once.
IDEMPOTENCY_KEY = "idempotency-key"

#: Header of a response to a repeated request (as of other APIs), and OpenAI's header for clients that poll.
REPLAYED, POLL_AFTER = "idempotent-replayed", "openai-poll-after-ms"


async def accept_jobs(
    ctx: AppContext,
    request: Request,
    submissions: Sequence[Submission],
    client_names: Mapping[str, str],
    *,
    batch: bool = False,
) -> Acceptance:
    """Store background jobs, which are on disk when this returns.

    Args:
        ctx: Collaborators of the routes.
        request: The request, which may have an idempotency key.
        submissions: The jobs.
        client_names: The client's names of parameters, for errors.
        batch: Whether they are a batch.

    Raises:
        OctaboxError: A job is invalid, or cannot be accepted.
    """
    with rename_error_params(client_names):
        return await ctx.queue.accept(submissions, request.headers.get(IDEMPOTENCY_KEY), batch=batch)


def accepted_headers(ctx: AppContext, accepted: Acceptance) -> dict[str, str]:
    """Return the headers of a response to accepted jobs."""
    first = accepted.jobs[0]
    headers = {} if first.batch else {"location": f"/v1/jobs/{first.id}"}
    return {**headers, **poll_headers(ctx, first), **({REPLAYED: "true"} if accepted.replayed else {})}


def poll_headers(ctx: AppContext, job: StoredJob) -> dict[str, str]:
    """Return the headers with the time after which a client should ask for a job again; none if it has ended."""
    if job.ended is not None:
        return {}
    seconds = ctx.queue.poll_after(job)
    return {POLL_AFTER: str(round(seconds * 1000)), "retry-after": str(math.ceil(seconds))}
