"""Turn submissions into jobs: their owner, their numbers, and the limits of how many there may be."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from octabox.errors import InvalidParameterError, QueueFullError
from octabox.service.jobs.errors import IdempotencyError, JobQuotaError
from octabox.service.jobs.record import StoredJob, Submission
from octabox.service.jobs.store.schema.rows import to_row
from octabox.service.jobs.store.schema.serialization import encode_request, hash_requests
from octabox.types import Progress


def check_hash(former: str, current: str) -> None:
    """Check that a repeated submission is the same as the former one.

    Raises:
        IdempotencyError: It is another one.
    """
    if former != current:
        message = "The 'Idempotency-Key' was used for another request."
        raise IdempotencyError(message, hint="Send a new key with a new request.", parameter="Idempotency-Key")


def check_ids(submissions: Sequence[Submission]) -> None:
    """Check that the requests of a batch have different ids.

    Raises:
        InvalidParameterError: Two have the same one.
    """
    found: dict[str, int] = {}
    for index, each in enumerate(submissions):
        former = found.setdefault(each.request.id, index)
        if former != index:
            message = f"Request {index} of the batch: Its id '{each.request.id}' is that of request {former} too."
            raise InvalidParameterError(message, hint="Give another id, or none.", parameter="id")


def name_models(submissions: Sequence[Submission], name_of: Callable[[str], str]) -> list[Submission]:
    """Return submissions with the names of their models instead of aliases, so that their jobs wait together.

    Args:
        submissions: The submissions.
        name_of: Returns the name of a model, by that or an alias.
    """
    names = {model: name_of(model) for model in {each.request.model for each in submissions}}
    return [replace(each, request=replace(each.request, model=names[each.request.model])) for each in submissions]


def check_room(waiting: int, own: int, count: int, seconds: float, limit: int, quota: int) -> None:
    """Check that more jobs of a client may wait.

    Args:
        waiting: How many jobs of all clients wait or run.
        own: How many of this client.
        count: How many more are to wait.
        seconds: How long a run takes.
        limit: How many jobs of all clients may wait.
        quota: How many of this client may wait or run; 0 is no limit.

    Raises:
        JobQuotaError: The client has too many jobs.
        QueueFullError: There are too many jobs.
    """
    sent = f", and {count} were sent" if count > 1 else ""
    if quota and own + count > quota:
        raise JobQuotaError(
            f"{own} background jobs of this client wait or run{sent}; {quota} are allowed.",
            retry_after=seconds,
            hint="Wait for their ends, or raise `job_quota`."
            if count <= quota
            else "Send fewer, or raise `job_quota`.",
        )
    if waiting + count > limit:
        raise QueueFullError(
            f"{waiting} background jobs wait{sent}; {limit} are allowed.",
            retry_after=seconds,
            hint="Try again later, or raise `max_jobs`." if count <= limit else "Send fewer, or raise `max_jobs`.",
        )


def owner_of(client: str, secret: bytes) -> str:
    """Return the public name of a client, from which its API key cannot be guessed without the secret of the store."""
    return "own_" + hmac.new(secret, client.encode(), hashlib.sha256).hexdigest()[:16]


def new_jobs(
    submissions: Sequence[Submission],
    batch: str | None,
    client: str,
    owner: str,
    place: int,
    now: float,
) -> list[StoredJob]:
    """Return new jobs for submissions.

    Args:
        submissions: The submissions.
        batch: Id of their batch.
        client: Who sent them.
        owner: Public name of the client.
        place: Place of the first job.
        now: The time in seconds since the epoch.
    """
    return [
        StoredJob(
            each.request,
            now,
            note=dict(each.note),
            kind=each.kind,
            client=client,
            owner=owner,
            batch=batch,
            priority=each.priority,
            place=place + index,
            webhook=each.webhook,
        )
        for index, each in enumerate(submissions)
    ]


def waiting_again(job: StoredJob, place: int, server: str) -> StoredJob:
    """Return a job that has ended as one that waits at a place of a server."""
    empty = replace(job, is_running=False, progress=Progress("queued"), error=None, losses=0, started=None)
    return replace(empty, status="queued", ended=None, expires=None, place=place, server=server)


def to_rows(
    jobs: Sequence[StoredJob], write: Callable[[bytes], str], key: str | None, request_hash: str
) -> list[dict[str, Any]]:
    """Return the rows of new jobs, whose files are written; the first one has the idempotency key."""
    rows = []
    for index, job in enumerate(jobs):
        text, places = encode_request(job.request, write)
        is_keyed = key is not None and index == 0
        columns = {"idempotency_key": key if is_keyed else None, "request_hash": request_hash if is_keyed else None}
        rows.append({**to_row(job, text, places), **columns})
    return rows


def hash_submissions(submissions: Sequence[Submission], *, batch: bool) -> str:
    """Return a hash of submissions, which identifies a repeated one: all that a client asks for, but the ids.

    Args:
        submissions: The submissions.
        batch: Whether they are a batch; the response to one has another form.
    """
    terms = [(each.kind, each.priority, each.webhook) for each in submissions]
    asked = json.dumps([batch, terms, hash_requests([each.request for each in submissions])])
    return hashlib.sha256(asked.encode("utf-8", "surrogatepass")).hexdigest()
