"""Which server runs a job: each has a lease, and one whose lease has ended loses its jobs to the others."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, RowMapping, and_, delete, func, insert, or_, select, update

from octabox.errors import GenerationCancelledError, OctaboxError
from octabox.service.jobs.errors import JobStoreError, WorkerLostError
from octabox.service.jobs.record import Notices, StoredJob
from octabox.service.jobs.store.schema.deliveries import add_notices, lock_batch
from octabox.service.jobs.store.schema.rows import to_job
from octabox.service.jobs.store.schema.serialization import encode_error
from octabox.service.jobs.store.schema.tables import jobs, servers

#: How many runs of a job may end with the server: a job that ends it each time must not run again.
MAX_LOSSES = 2


@dataclass(frozen=True)
class ServerEntry:
    """A server that uses the store.

    Args:
        id: Its id, which is new at each start.
        host: Name of its machine.
        folder: Id of the folder of its files.
        lease_until: When its lease ends, in seconds since the epoch.
    """

    id: str
    host: str
    folder: str
    lease_until: float


@dataclass(frozen=True)
class LeaseState:
    """What a server learns when it renews its lease.

    Args:
        is_held: Whether it had the lease still.
        others: The other servers.
        cancelled: Ids of its jobs that are to be cancelled.
        orphans: Models of the jobs that no server has, and whether one of these jobs is to be cancelled.
    """

    is_held: bool
    others: tuple[ServerEntry, ...]
    cancelled: tuple[str, ...]
    orphans: Mapping[str, bool]


def register(connection: Connection, entry: ServerEntry, now: float) -> None:
    """Add a server.

    Raises:
        JobStoreError: Another one has another folder, so that neither could read the files of the other one.
    """
    folders = select(servers.c.folder).where(servers.c.lease_until > now)
    if set(connection.execute(folders).scalars()) - {entry.folder}:
        message = "Another server uses the database of `job_store` with another data folder, or another `file_store`."
        raise JobStoreError(message, hint="Give both the same `data_dir` or `file_store`, or each its own database.")
    connection.execute(insert(servers).values(**vars(entry)))


def renew(connection: Connection, server: str, until: float) -> LeaseState:
    """Renew the lease of a server."""
    renewed = connection.execute(update(servers).where(servers.c.id == server).values(lease_until=until))
    others = connection.execute(select(servers).where(servers.c.id != server)).mappings()
    cancelled = select(jobs.c.id).where(jobs.c.server == server, jobs.c.cancel_requested == 1, jobs.c.ended.is_(None))
    orphans = select(jobs.c.model, func.max(jobs.c.cancel_requested)).where(_is_orphan()).group_by(jobs.c.model)
    return LeaseState(
        renewed.rowcount > 0,
        tuple(ServerEntry(**row) for row in others),
        tuple(connection.execute(cancelled).scalars()),
        {model: bool(is_cancelled) for model, is_cancelled in connection.execute(orphans)},
    )


def release(connection: Connection, server: str) -> None:
    """Remove a server, whose jobs others may take over now."""
    connection.execute(delete(servers).where(servers.c.id == server))


def remove_ended(connection: Connection, ended: Collection[str], late: Collection[str], now: float) -> None:
    """Remove the servers that have ended, and of some others those whose lease has."""
    is_late = and_(servers.c.id.in_(late), servers.c.lease_until <= now)
    connection.execute(delete(servers).where(or_(servers.c.id.in_(ended), is_late)))


def forgive_losses(connection: Connection, ids: Collection[str], server: str) -> None:
    """Count the last loss of jobs no more, which others have taken over from a server that runs still."""
    taken = (jobs.c.id.in_(ids), jobs.c.server != server, jobs.c.ended.is_(None), jobs.c.losses > 0)
    connection.execute(update(jobs).where(*taken).values(losses=jobs.c.losses - 1))


def request_cancel(connection: Connection, number: int) -> None:
    """Let the server of a job cancel it; one that no server has is cancelled by the first one that looks for those."""
    connection.execute(update(jobs).where(jobs.c.number == number, jobs.c.ended.is_(None)).values(cancel_requested=1))


def disown(connection: Connection, ids: Collection[str], created: float, server: str) -> bool:
    """Let a server have some of its jobs no more, so that they are taken over; return whether one of them is stored.

    Args:
        connection: The connection.
        ids: Their ids.
        created: When they were created: jobs with the same ids of another time are others.
        server: The server.
    """
    same = (jobs.c.id.in_(ids), jobs.c.created == created)
    connection.execute(update(jobs).where(*same, jobs.c.server == server, jobs.c.ended.is_(None)).values(server=None))
    return connection.execute(select(jobs.c.id).where(*same).limit(1)).first() is not None


def take_over(
    connection: Connection,
    server: str,
    models: Sequence[str] | None,
    now: float,
    expires: float,
    notices_of: Callable[[StoredJob], Notices | None],
) -> tuple[list[StoredJob], list[StoredJob]]:
    """Take over the jobs that no server has. Those that ran wait again at their places, or fail if that happened before.

    Those that are to be cancelled are, whatever their model is: no server may have it any more.

    Args:
        connection: The connection.
        server: The server that takes them over.
        models: Their models; None is all.
        now: The time in seconds since the epoch.
        expires: When those that end expire.
        notices_of: Returns what is to be sent when a job ends.

    Returns:
        The jobs that wait, in the order in which they were accepted, and those that have failed or are cancelled.
    """
    own = (jobs.c.server == server, jobs.c.ended.is_(None))
    before = set(connection.execute(select(jobs.c.id).where(*own)).scalars())
    orphans = update(jobs).where(_is_orphan())
    if models is not None:
        orphans = orphans.where(or_(jobs.c.model.in_(models), jobs.c.cancel_requested == 1))
    connection.execute(orphans.values(server=server))
    waiting, ended = list[StoredJob](), list[StoredJob]()
    for row in connection.execute(select(jobs).where(*own).order_by(jobs.c.number)).mappings().all():
        if row["id"] not in before:
            job = _queue_lost(connection, row, now, expires)
            if job.ended is not None and (notices := notices_of(job)):
                lock_batch(connection, notices)
                add_notices(connection, notices)
            (waiting if job.ended is None else ended).append(job)
    return waiting, ended


def _queue_lost(connection: Connection, row: RowMapping, now: float, expires: float) -> StoredJob:
    """Let a job that was taken over wait again, or end it, and return it."""
    if row["status"] == "queued" and not row["cancel_requested"]:
        return to_job(row)
    # A job is in progress while its model is downloaded too, which does not end the server.
    losses = row["losses"] + (row["status"] != "queued" and row["started"] is not None)
    values: dict[str, object] = {"status": "queued", "losses": losses, "started": None}
    error: OctaboxError | None = None
    if row["cancel_requested"]:
        error = GenerationCancelledError("The request was cancelled.", model=row["model"])
        values["status"] = "cancelled"
    elif losses > row["losses"] and losses >= MAX_LOSSES:
        values["status"] = "failed"
        error = WorkerLostError(
            f"The server ended {losses} times while the request ran.",
            hint="The request may be the cause, such as by the memory that it needs. To run it again, retry it.",
            model=row["model"],
        )
    if error is not None:
        values |= {"ended": now, "expires": expires, "error": encode_error(error), "started": row["started"]}
    connection.execute(update(jobs).where(jobs.c.id == row["id"]).values(**values))
    return to_job({**row, **values})


def _is_orphan() -> ColumnElement[bool]:
    """Return the condition of the jobs that no server has."""
    known = select(servers.c.id)
    return and_(jobs.c.ended.is_(None), or_(jobs.c.server.is_(None), jobs.c.server.not_in(known)))
