"""What is read from and written to the database of background jobs; each function is a part of a transaction."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Select, delete, func, insert, select, update

from octabox.errors import InvalidParameterError
from octabox.service.jobs.errors import WorkerLostError
from octabox.service.jobs.record import Delivery, JobQuery, StoredJob
from octabox.service.jobs.store.rows import file_names, to_job
from octabox.service.jobs.store.serialization import FilePlace, encode_error
from octabox.service.jobs.store.tables import deliveries, jobs, properties, run_times

#: How many runs of a job may end with the server: a job that ends it each time must not run again.
MAX_LOSSES = 2


def accept(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> tuple[list[str], str, list[StoredJob]]:
    """Insert new jobs, unless their idempotency key was used before.

    Args:
        connection: The connection.
        rows: The rows; the first one has the key.

    Returns:
        Files of ended jobs with the same ids, which are replaced; the hash of the former submission with this key, and its
        jobs.
    """
    request_hash, former = find_key(connection, rows[0]["client"], rows[0]["idempotency_key"])
    if former:
        return [], request_hash, former
    dropped = []
    ids = [row["id"] for row in rows]
    for row in connection.execute(select(jobs).where(jobs.c.id.in_(ids))).mappings().all():
        if row["ended"] is None:
            message, hint = f"A request '{row['id']}' is waiting or running.", "Give another id, or none."
            raise InvalidParameterError(message, hint=hint, parameter="id")
        dropped += remove(connection, [row["id"]])
    connection.execute(insert(jobs), list(rows))
    return dropped, "", []


def find_key(connection: Connection, client: str, key: str | None) -> tuple[str, list[StoredJob]]:
    """Return the hash and the jobs of the submission with a client's idempotency key; no jobs if there is none."""
    same_key = select(jobs).where(jobs.c.client == client, jobs.c.idempotency_key == key)
    found = None if key is None else connection.execute(same_key).mappings().first()
    if found is None:
        return "", []
    batch = jobs.c.batch == found["batch"] if found["batch"] else jobs.c.id == found["id"]
    members = connection.execute(select(jobs).where(batch).order_by(jobs.c.number)).mappings()
    return found["request_hash"], [to_job(row) for row in members]


def change(connection: Connection, job_id: str, values: Mapping[str, Any]) -> None:
    """Change columns of a job."""
    connection.execute(update(jobs).where(jobs.c.id == job_id).values(**values))


def end(
    connection: Connection, job_id: str, values: Mapping[str, Any], notices: Iterable[Delivery], seconds: float | None
) -> None:
    """Record the end of a job, the webhooks to send, and the seconds of a run of its model."""
    change(connection, job_id, values)
    for notice in notices:
        add_delivery(connection, notice)
    if seconds is not None:
        model = connection.execute(select(jobs.c.model).where(jobs.c.id == job_id)).scalar_one()
        connection.execute(delete(run_times).where(run_times.c.model == model))
        connection.execute(insert(run_times).values(model=model, seconds=seconds))


def shift(connection: Connection, place: int) -> None:
    """Increase the places of all jobs from this place on, so that it is free."""
    connection.execute(update(jobs).where(jobs.c.place >= place, jobs.c.ended.is_(None)).values(place=jobs.c.place + 1))


def find(connection: Connection, job_id: str) -> StoredJob | None:
    """Return a job; None if there is none with this id."""
    row = connection.execute(select(jobs).where(jobs.c.id == job_id)).mappings().first()
    return to_job(row) if row else None


def find_all(connection: Connection, query: JobQuery) -> list[StoredJob]:
    """Return the jobs of a query."""
    return [to_job(row) for row in connection.execute(_select(query)).mappings()]


def count_by_status(connection: Connection, batch: str | None = None) -> dict[str, int]:
    """Return how many jobs there are in each status, of a batch or of all."""
    found = select(jobs.c.status, func.count()).group_by(jobs.c.status)
    found = found if batch is None else found.where(jobs.c.batch == batch)
    return {row[0]: row[1] for row in connection.execute(found)}


def request_of(connection: Connection, job_id: str) -> tuple[str, list[FilePlace]]:
    """Return the request of a job as JSON, and the places of its files."""
    row = connection.execute(select(jobs.c.request, jobs.c.media).where(jobs.c.id == job_id)).one()
    return row.request, json.loads(row.media)


def remove(connection: Connection, ids: Sequence[str]) -> list[str]:
    """Delete jobs, and return the names of their files."""
    rows = connection.execute(select(jobs.c.files, jobs.c.media).where(jobs.c.id.in_(ids))).mappings().all()
    connection.execute(delete(jobs).where(jobs.c.id.in_(ids)))
    return [name for row in rows for name in file_names(row)]


def remove_expired(connection: Connection, now: float) -> list[str]:
    """Delete expired jobs, and return the names of their files."""
    ids = connection.execute(select(jobs.c.id).where(jobs.c.expires <= now)).scalars().all()
    return remove(connection, ids) if ids else []


def recover(connection: Connection, now: float, expires: float) -> list[StoredJob]:
    """Let the jobs that ran when the server ended wait again, at their places, or fail if that happened before.

    Returns:
        The jobs that have failed.
    """
    failed = []
    lost = connection.execute(select(jobs).where(jobs.c.status == "in_progress")).mappings().all()
    for row in lost:
        losses = row["losses"] + 1
        if losses < MAX_LOSSES:
            change(connection, row["id"], {"status": "queued", "losses": losses})
            continue
        error = WorkerLostError(
            f"The server ended {losses} times while the request ran.",
            hint="The request may be the cause, such as by the memory that it needs. To run it again, retry it.",
            model=row["model"],
        )
        ended = {"status": "failed", "ended": now, "expires": expires, "error": encode_error(error)}
        change(connection, row["id"], {**ended, "losses": losses})
        failed.append(to_job({**row, **ended, "losses": losses}))
    return failed


def known_files(connection: Connection) -> set[str]:
    """Return the names of the files of all jobs."""
    rows = connection.execute(select(jobs.c.files, jobs.c.media)).mappings()
    return {name for row in rows for name in file_names(row)}


def last_numbers(connection: Connection) -> tuple[int, int]:
    """Return the highest number and the highest place of all jobs."""
    numbers = connection.execute(select(func.max(jobs.c.number), func.max(jobs.c.place))).one()
    return numbers[0] or 0, numbers[1] or 0


def get_property(connection: Connection, name: str) -> str | None:
    """Return a value of the store; None if it is not set."""
    return connection.execute(select(properties.c.value).where(properties.c.name == name)).scalar()


def set_property(connection: Connection, name: str, value: str) -> None:
    """Set a value of the store."""
    connection.execute(delete(properties).where(properties.c.name == name))
    connection.execute(insert(properties).values(name=name, value=value))


def all_run_times(connection: Connection) -> dict[str, float]:
    """Return the seconds of a run by model."""
    return {row.model: row.seconds for row in connection.execute(select(run_times))}


def due_deliveries(connection: Connection, limit: int) -> list[Delivery]:
    """Return the webhooks to send, those that are due first at the front."""
    rows = connection.execute(select(deliveries).order_by(deliveries.c.due).limit(limit)).mappings()
    return [Delivery(**row) for row in rows]


def add_delivery(connection: Connection, notice: Delivery) -> None:
    """Add a webhook, or change its number of attempts and its time."""
    connection.execute(delete(deliveries).where(deliveries.c.id == notice.id))
    connection.execute(insert(deliveries).values(**vars(notice)))


def remove_delivery(connection: Connection, delivery_id: str) -> None:
    """Delete a webhook."""
    connection.execute(delete(deliveries).where(deliveries.c.id == delivery_id))


def _select(query: JobQuery) -> Select[Any]:
    """Return the statement of a query."""
    found = select(jobs)
    for column, value in ((jobs.c.kind, query.kind), (jobs.c.model, query.model), (jobs.c.owner, query.owner)):
        found = found if value is None else found.where(column == value)
    if query.statuses:
        found = found.where(jobs.c.status.in_(query.statuses))
    if query.batch is not None:
        found = found.where(jobs.c.batch == query.batch)
    if query.ended_before is not None:
        found = found.where(jobs.c.ended < query.ended_before)
    if query.after is not None:
        found = found.where(jobs.c.number < query.after if query.newest_first else jobs.c.number > query.after)
    found = found.order_by(jobs.c.number.desc() if query.newest_first else jobs.c.number)
    return found if query.limit is None else found.limit(query.limit)
