"""The marks of the outputs of jobs in the database; each function is a part of a transaction."""

from __future__ import annotations

from sqlalchemy import Connection, select, update

from octabox.service.jobs.record import MarkChange, Marks
from octabox.service.jobs.store.schema.rows import decode_marks, encode_marks
from octabox.service.jobs.store.schema.tables import jobs


def mark(connection: Connection, number: int, index: int, change: MarkChange, size: int) -> Marks | None:
    """Change the marks of an output of a job, of any server; one that is deleted does not count to the bytes any more.

    Args:
        connection: The connection.
        number: Number of the job: its id may be that of another one by now.
        index: Index of the output.
        change: The change.
        size: Bytes of the output.

    Returns:
        Its marks; None if the job or the output was deleted.
    """
    found = select(jobs.c.marks, jobs.c.bytes).where(jobs.c.number == number).with_for_update()
    row = connection.execute(found).first()
    marks = decode_marks(row.marks) if row else {}
    before = marks.get(index, Marks())
    if row is None or before.deleted:
        return None
    after = marks[index] = change.apply(before)
    left = max(row.bytes - size, 0) if after.deleted else row.bytes
    connection.execute(update(jobs).where(jobs.c.number == number).values(marks=encode_marks(marks), bytes=left))
    return after
