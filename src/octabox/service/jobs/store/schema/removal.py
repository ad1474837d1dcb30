"""Delete ended jobs from the database; each function is a part of a transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import ColumnElement, Connection, RowMapping, delete, select

from octabox.service.jobs.store.schema.idempotency import move_keys
from octabox.service.jobs.store.schema.rows import file_names
from octabox.service.jobs.store.schema.tables import jobs


def remove(connection: Connection, seen: Mapping[int, float | None]) -> tuple[int, list[str]]:
    """Delete ended jobs as they were seen, not one that waits again or has ended again, nor a new one with the same id.

    Args:
        connection: The connection.
        seen: When the jobs ended, in seconds since the epoch, by their numbers.

    Returns:
        How many there were, and the names of their files.
    """
    rows = [row for row in _locked(connection, jobs.c.number.in_([*seen])) if row["ended"] == seen[row["number"]]]
    return len(rows), _delete(connection, rows)


def remove_expired(connection: Connection, now: float, limit: int) -> tuple[int, list[str]]:
    """Delete expired jobs, the first ones to expire first; `limit` at most. Return how many there were, and their files."""
    rows = _locked(connection, jobs.c.expires <= now, limit)
    return len(rows), _delete(connection, rows)


def remove_ids(connection: Connection, ids: Sequence[str]) -> list[str]:
    """Delete jobs of which this transaction has read that they have ended, and return the names of their files."""
    return _delete(connection, _locked(connection, jobs.c.id.in_(ids)))


def _locked(connection: Connection, condition: ColumnElement[bool], limit: int | None = None) -> Sequence[RowMapping]:
    """Return rows of ended jobs, which other servers do not change until the end of the transaction."""
    columns = select(jobs.c.id, jobs.c.number, jobs.c.ended, jobs.c.files, jobs.c.media)
    found = columns.where(condition, jobs.c.ended.is_not(None)).order_by(jobs.c.expires, jobs.c.number).limit(limit)
    return connection.execute(found.with_for_update()).mappings().all()


def _delete(connection: Connection, rows: Sequence[RowMapping]) -> list[str]:
    """Delete jobs, and return the names of their files; what identifies a repeated batch stays with the rest of it."""
    ids = [row["id"] for row in rows]
    move_keys(connection, ids)
    connection.execute(delete(jobs).where(jobs.c.id.in_(ids)))
    return [name for row in rows for name in file_names(row)]
