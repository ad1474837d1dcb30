"""What is read from and written to the database of background jobs; each function is a part of a transaction.

A job that was read before is named by its number, since its id may be that of another one by now.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import BigInteger, Connection, Select, Table, Text, cast, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from octabox.errors import InvalidParameterError
from octabox.service.jobs.errors import JobLostError, ResultExpiredError
from octabox.service.jobs.record import JobQuery, Notices, StoredJob
from octabox.service.jobs.store.schema.deliveries import add_notices, lock_batch
from octabox.service.jobs.store.schema.idempotency import find_key, find_keyed
from octabox.service.jobs.store.schema.removal import remove_ids
from octabox.service.jobs.store.schema.rows import file_names, to_job
from octabox.service.jobs.store.schema.serialization import FilePlace, encode_error
from octabox.service.jobs.store.schema.tables import jobs, properties, run_times

#: Name of the property with the number of the last job.
LAST_NUMBER = "last_number"

#: Name of the property with the paused models.
PAUSED = "paused"

#: Statuses of jobs that have not ended.
LIVE = ("queued", "in_progress")

#: Checks that more jobs may wait, where so many of all clients, and so many of one of them, wait or run.
RoomCheck = Callable[[int, int], None]


def accept(
    connection: Connection, rows: Sequence[Mapping[str, Any]], visible: str | None, check: RoomCheck | None
) -> tuple[list[str], str, list[StoredJob], int]:
    """Insert new jobs, unless their idempotency key was used before.

    Args:
        connection: The connection.
        rows: The rows; the first one has the key.
        visible: The client whose ended jobs may be replaced; None is any.
        check: Checks that more jobs may wait; None if that is known.

    Returns:
        Files of ended jobs with the same ids, which are replaced; the hash of the former submission with this key, and its
        jobs; the number of the first row.
    """
    # First, since it lets other servers wait, whose key or ids may be the same.
    number = _reserve_numbers(connection, len(rows))
    client, key, now = (rows[0][name] for name in ("client", "idempotency_key", "created"))
    request_hash, former = find_key(connection, client, key, now)
    if former:
        return [], request_hash, former, 0
    if check is not None:
        check(*_count_live(connection, client))
    dropped = remove_ids(connection, find_keyed(connection, client, key))
    ids = [row["id"] for row in rows]
    for row in connection.execute(select(jobs).where(jobs.c.id.in_(ids))).mappings().all():
        if row["ended"] is None or (visible not in {None, row["client"]} and row["expires"] > now):
            place = f"Request {ids.index(row['id'])} of the batch: " if rows[0]["batch"] else ""
            message, hint = f"{place}A request '{row['id']}' is waiting or running.", "Give another id, or none."
            raise InvalidParameterError(message, hint=hint, parameter="id")
        dropped += remove_ids(connection, [row["id"]])
    connection.execute(insert(jobs), [{**row, "number": number + index} for index, row in enumerate(rows)])
    return dropped, "", [], number


def _count_live(connection: Connection, client: str) -> tuple[int, int]:
    """Return how many jobs of all servers wait or run, and how many of a client."""
    found = select(func.count()).select_from(jobs).where(jobs.c.status.in_(LIVE))
    own = found.where(jobs.c.client == client)
    return connection.execute(found).scalar_one(), connection.execute(own).scalar_one()


def _reserve_numbers(connection: Connection, count: int) -> int:
    """Return the first one of some numbers that no other server uses; others wait until the end of the transaction."""
    last = properties.c.name == LAST_NUMBER
    increased = cast(cast(properties.c.value, BigInteger) + count, Text)
    connection.execute(update(properties).where(last).values(value=increased))
    return int(connection.execute(select(properties.c.value).where(last)).scalar_one()) - count + 1


def change(connection: Connection, number: int, values: Mapping[str, Any], server: str) -> bool:
    """Change columns of a job of a server; return whether it is one that has not ended."""
    own = (jobs.c.number == number, jobs.c.server == server, jobs.c.ended.is_(None))
    return connection.execute(update(jobs).where(*own).values(**values)).rowcount > 0


def queue_again(
    connection: Connection,
    number: int,
    statuses: Sequence[str],
    values: Mapping[str, Any],
    server: str,
    check: RoomCheck | None,
) -> bool:
    """Let a job with one of these statuses wait at a server, if one more may; return whether it had one."""
    if check is not None:
        _reserve_numbers(connection, 0)  # Other servers wait until the end of the transaction.
        client = connection.execute(select(jobs.c.client).where(jobs.c.number == number)).scalar()
        check(*_count_live(connection, client or ""))
    found = update(jobs).where(jobs.c.number == number, jobs.c.status.in_(statuses))
    values = {**values, "status": "queued", "server": server, "cancel_requested": 0}
    return connection.execute(found.values(**values)).rowcount > 0


def end(
    connection: Connection,
    number: int,
    values: Mapping[str, Any],
    notices: Notices | None,
    seconds: float | None,
    server: str,
) -> bool:
    """Record the end of a job of a server, the webhooks to send, and the seconds of a run of its model.

    Returns:
        Whether it was a job of this server; nothing is recorded otherwise.
    """
    if notices:
        lock_batch(connection, notices)
    if not change(connection, number, values, server):
        return False
    if notices:
        add_notices(connection, notices)
    if seconds is not None:
        model = connection.execute(select(jobs.c.model).where(jobs.c.number == number)).scalar_one()
        _upsert(connection, run_times, {"model": model}, {"seconds": seconds})
    return True


def trim(connection: Connection, limit: int, keep: str) -> list[str]:
    """Let the oldest results expire until all have no more bytes than the limit, and return the names of their files.

    Args:
        connection: The connection.
        limit: The limit.
        keep: Id of the job whose result is the last to go.
    """
    total = int(connection.execute(select(func.sum(jobs.c.bytes))).scalar() or 0)
    if total <= limit:
        return []
    oldest = select(jobs.c.id, jobs.c.bytes, jobs.c.files, jobs.c.model).where(jobs.c.bytes > 0, jobs.c.id != keep)
    names = list[str]()
    for row in connection.execute(oldest.order_by(jobs.c.ended)).mappings().all():
        error = ResultExpiredError(
            f"The result of job '{row['id']}' was deleted: the results of all jobs had more than {limit} bytes.",
            hint="Fetch results soon, or raise `max_job_bytes`.",
            model=row["model"],
        )
        expired = {"bytes": 0, "result": None, "error": encode_error(error)}
        connection.execute(update(jobs).where(jobs.c.id == row["id"]).values(**expired))
        names += json.loads(row["files"])
        total -= row["bytes"]
        if total <= limit:
            break
    return names


def result_bytes(connection: Connection) -> int:
    """Return how many bytes the results of all jobs have."""
    return int(connection.execute(select(func.sum(jobs.c.bytes))).scalar() or 0)


def find_by_file(connection: Connection, name: str) -> StoredJob | None:
    """Return the job with a file of this name among its results; None if there is none."""
    found = select(jobs).where(jobs.c.files.contains(f'"{name}"', autoescape=True))
    row = connection.execute(found).mappings().first()
    return to_job(row) if row else None


def shift(connection: Connection, place: int, server: str) -> None:
    """Increase the places of all jobs of a server from this place on, so that it is free."""
    later = (jobs.c.place >= place, jobs.c.ended.is_(None), jobs.c.server == server)
    connection.execute(update(jobs).where(*later).values(place=jobs.c.place + 1))


def find(connection: Connection, job_id: str) -> StoredJob | None:
    """Return a job; None if there is none with this id."""
    row = connection.execute(select(jobs).where(jobs.c.id == job_id)).mappings().first()
    return to_job(row) if row else None


def find_all(connection: Connection, query: JobQuery) -> list[StoredJob]:
    """Return the jobs of a query."""
    return [to_job(row) for row in connection.execute(_select(query)).mappings()]


def count_by_status(connection: Connection, client: str | None = None, batch: str | None = None) -> dict[str, int]:
    """Return how many jobs there are in each status, of a client or of all, and of a batch or of all."""
    found = select(jobs.c.status, func.count()).group_by(jobs.c.status)
    found = found if client is None else found.where(jobs.c.client == client)
    found = found if batch is None else found.where(jobs.c.batch == batch)
    return {row[0]: row[1] for row in connection.execute(found)}


def request_of(connection: Connection, job_id: str, number: int) -> tuple[str, list[FilePlace]]:
    """Return the request of a job as JSON, and the places of its files.

    Raises:
        JobLostError: There is no such job.
    """
    row = connection.execute(select(jobs.c.request, jobs.c.media).where(jobs.c.number == number)).first()
    if row is None:
        raise JobLostError(f"Job '{job_id}' is not in the store any more.", hint="Send the request again.")
    return row.request, json.loads(row.media)


def known_files(connection: Connection) -> set[str]:
    """Return the names of the files of all jobs."""
    rows = connection.execute(select(jobs.c.files, jobs.c.media)).mappings()
    return {name for row in rows for name in file_names(row)}


def last_place(connection: Connection) -> int:
    """Return the highest place of all jobs."""
    return connection.execute(select(func.max(jobs.c.place))).scalar() or 0


def get_property(connection: Connection, name: str) -> str | None:
    """Return a value of the store; None if it is not set."""
    return connection.execute(select(properties.c.value).where(properties.c.name == name)).scalar()


def set_property(connection: Connection, name: str, value: str) -> None:
    """Set a value of the store."""
    _upsert(connection, properties, {"name": name}, {"value": value})


def paused(connection: Connection) -> set[str]:
    """Return the paused models."""
    return {*json.loads(get_property(connection, PAUSED) or "[]")}


def change_paused(connection: Connection, added: Collection[str], removed: Collection[str] | None) -> set[str]:
    """Pause models and resume others, and return those that are paused then; those that other servers pause stay.

    Args:
        connection: The connection.
        added: The models to pause.
        removed: The models to resume; None is all.
    """
    row = {"name": PAUSED, "value": "[]"}
    # So that there is a row, which other servers wait for.
    connection.execute(_insert_of(connection)(properties).values(**row).on_conflict_do_nothing(index_elements=["name"]))
    found = select(properties.c.value).where(properties.c.name == PAUSED).with_for_update()
    before = {*json.loads(connection.execute(found).scalar_one())}
    after = (before - {*(before if removed is None else removed)}) | {*added}
    set_property(connection, PAUSED, json.dumps(sorted(after)))
    return after


def _insert_of(connection: Connection) -> Any:
    """Return what makes statements to insert rows that may exist."""
    return postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert


def _upsert(connection: Connection, table: Table, key: Mapping[str, Any], values: Mapping[str, Any]) -> None:
    """Insert a row, or change that with the same key, which another server may be inserting too."""
    row = _insert_of(connection)(table).values(**key, **values)
    connection.execute(row.on_conflict_do_update(index_elements=[*key], set_=dict(values)))


def all_run_times(connection: Connection) -> dict[str, float]:
    """Return the seconds of a run by model."""
    return {row.model: row.seconds for row in connection.execute(select(run_times))}


def _select(query: JobQuery) -> Select[Any]:
    """Return the statement of a query."""
    found = select(jobs)
    for name in ("kind", "model", "owner", "client"):
        column, value = jobs.c[name], getattr(query, name)
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
