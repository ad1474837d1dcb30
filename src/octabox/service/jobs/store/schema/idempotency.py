"""Idempotency keys in the database, by which a repeated submission is recognized; each function is a part of a transaction."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, RowMapping, select, update

from octabox.service.jobs.record import StoredJob
from octabox.service.jobs.store.schema.rows import to_job
from octabox.service.jobs.store.schema.tables import jobs


def find_key(connection: Connection, client: str, key: str | None, now: float) -> tuple[str, list[StoredJob]]:
    """Return the hash and the jobs of the submission with a client's idempotency key.

    Returns:
        The hash and the jobs that have not expired; no jobs if there are none.
    """
    request_hash, rows = _find_rows(connection, client, key)
    return request_hash, [to_job(row) for row in rows if row["expires"] is None or row["expires"] > now]


def find_keyed(connection: Connection, client: str, key: str | None) -> list[str]:
    """Return the ids of the jobs of the submission with a client's idempotency key, also of those that have expired."""
    return [row["id"] for row in _find_rows(connection, client, key)[1]]


def move_keys(connection: Connection, ids: Sequence[str]) -> None:
    """Give the idempotency keys of jobs that are about to be deleted to the next jobs of their batches."""
    keyed = select(jobs.c.id, jobs.c.batch, jobs.c.idempotency_key, jobs.c.request_hash).where(
        jobs.c.id.in_(ids), jobs.c.idempotency_key.is_not(None), jobs.c.batch.is_not(None)
    )
    for row in connection.execute(keyed).all():
        others = select(jobs.c.id).where(jobs.c.batch == row.batch, jobs.c.id.not_in(ids))
        heir = connection.execute(others.order_by(jobs.c.number).limit(1)).scalar()
        if heir is not None:
            values = {"idempotency_key": row.idempotency_key, "request_hash": row.request_hash}
            connection.execute(update(jobs).where(jobs.c.id == row.id).values(**dict.fromkeys(values)))
            connection.execute(update(jobs).where(jobs.c.id == heir).values(**values))


def _find_rows(connection: Connection, client: str, key: str | None) -> tuple[str, Sequence[RowMapping]]:
    """Return the hash and the rows of the submission with a client's idempotency key."""
    same_key = select(jobs).where(jobs.c.client == client, jobs.c.idempotency_key == key)
    found = None if key is None else connection.execute(same_key).mappings().first()
    if found is None:
        return "", []
    batch = jobs.c.batch == found["batch"] if found["batch"] else jobs.c.id == found["id"]
    return found["request_hash"], connection.execute(select(jobs).where(batch).order_by(jobs.c.number)).mappings().all()
