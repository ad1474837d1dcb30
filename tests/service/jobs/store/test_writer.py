"""The thread that writes the database."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.event import listens_for
from sqlalchemy.exc import IntegrityError

from octabox.service.jobs.errors import JobStoreError
from octabox.service.jobs.store.database import Database, open_database
from octabox.service.jobs.store.schema import statements
from octabox.service.jobs.store.writer import Operation, Writer


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """Return a database with an empty table."""
    database = open_database(None, tmp_path)
    with database.engine.begin() as connection:
        connection.execute(text("CREATE TABLE t (x INTEGER PRIMARY KEY)"))
    yield database
    database.close()


def insert(value: int) -> Callable[[Connection], Any]:
    """Return what inserts a value."""
    return lambda connection: connection.execute(text("INSERT INTO t VALUES (:x)"), {"x": value}).rowcount


def values(connection: Connection) -> list[int]:
    """Return all values."""
    return [*connection.execute(text("SELECT x FROM t ORDER BY x")).scalars()]


async def test_operations_that_wait_share_a_transaction(database: Database) -> None:
    """One that fails changes nothing, and fails no other."""
    writer = Writer(database.engine)
    began, hold, commits = threading.Event(), threading.Event(), list[int]()

    def wait(_: Connection) -> None:
        began.set()
        hold.wait()

    first = writer.run(wait)
    await asyncio.to_thread(began.wait)
    waiting = [writer.run(insert(each)) for each in (1, 2, 1, 3)]
    commit = writer._commit

    def count(operations: list[Operation]) -> list[Any]:
        commits.append(len(operations))
        return commit(operations)

    writer._commit = count  # type: ignore[method-assign]
    hold.set()
    await first
    outcomes = await asyncio.gather(*waiting, return_exceptions=True)

    assert isinstance(outcomes.pop(2), JobStoreError)
    assert [1, 1, 1] == outcomes
    assert [4] == commits
    assert [1, 2, 3] == await writer.run(values)
    writer.close()


async def test_an_error_of_the_database_names_no_values(database: Database) -> None:
    """Clients read it; what PostgreSQL states after its first line are values of a row, such as a client and its key."""
    writer = Writer(database.engine)
    message = 'duplicate key value violates unique constraint "x"\nDETAIL:  Key (client)=(secret) already exists.'

    def fail(_: Connection) -> None:
        raise IntegrityError("INSERT", {}, Exception(message))

    with pytest.raises(JobStoreError) as raised:
        await writer.run(fail)
    writer.close()

    assert 'The store of background jobs failed: duplicate key value violates unique constraint "x".' in str(
        raised.value
    )
    assert "secret" not in str(raised.value)


async def test_the_end_writes_what_waits(database: Database) -> None:
    """After that, nothing is accepted."""
    writer = Writer(database.engine)
    waiting = [writer.run(insert(each)) for each in range(50)]
    await asyncio.to_thread(writer.close)

    assert [1] * 50 == await asyncio.gather(*waiting)
    with pytest.raises(JobStoreError, match="is closed"):
        writer.run(values)


async def test_a_full_disk_fails_all_operations_of_a_transaction(database: Database) -> None:
    """SQLite rolls all of them back, so that none of them may be reported as stored, and none of the later ones is stored."""

    @listens_for(database.engine, "connect")
    def _(connection: Any, _: Any) -> None:
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages + 20}")

    database.engine.dispose()
    writer = Writer(database.engine)
    began, hold = threading.Event(), threading.Event()

    def wait(_: Connection) -> None:
        began.set()
        hold.wait()

    first = writer.run(wait)
    await asyncio.to_thread(began.wait)
    waiting = [
        writer.run(insert(1)),
        writer.run(lambda connection: statements.set_property(connection, "large", "y" * 400_000)),
        writer.run(insert(2)),
    ]
    hold.set()
    await first
    outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    stored = await writer.run(values)
    again = await writer.run(insert(3))
    after = await writer.run(values)
    await asyncio.to_thread(writer.close)

    assert all(isinstance(each, JobStoreError) and "disk is full" in str(each) for each in outcomes)
    assert ([], 1, [3]) == (stored, again, after)
