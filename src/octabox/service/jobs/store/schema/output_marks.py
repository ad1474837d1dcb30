"""The marks of the outputs of jobs in the database; each function is a part of a transaction."""

from __future__ import annotations

from sqlalchemy import Connection, select, update

from octabox.service.jobs.record import MarkChange, Marks
from octabox.service.jobs.store.schema.rows import decode_marks, encode_marks
from octabox.service.jobs.store.schema.tables import jobs


def mark(connection: Connection, job_id: str, index: int, change: MarkChange, size: int) -> None:
    """Change the marks of an output of a job, of any server; one that is deleted does not count to the bytes any more.

    Args:
        connection: The connection.
        job_id: The job.
        index: Index of the output.
        change: The change.
        size: Bytes of the output.
    """
    found = select(jobs.c.marks, jobs.c.bytes).where(jobs.c.id == job_id).with_for_update()
    row = connection.execute(found).first()
    if row is None:
        return
    marks = decode_marks(row.marks)
    before = marks.get(index, Marks())
    after = marks[index] = change.apply(before)
    left = max(row.bytes - size, 0) if after.deleted and not before.deleted else row.bytes
    connection.execute(update(jobs).where(jobs.c.id == job_id).values(marks=encode_marks(marks), bytes=left))
