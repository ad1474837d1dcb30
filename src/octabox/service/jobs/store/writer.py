"""The thread that reads and writes the database: operations that wait together share one transaction, and one write to disk."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from octabox.service.jobs.errors import JobStoreError, UncertainCommitError

T = TypeVar("T")

#: Maximum number of operations of a transaction.
MAX_OPERATIONS = 500


@dataclass(frozen=True)
class Operation:
    """A part of a transaction, and the future of its result."""

    run: Callable[[Connection], Any]
    future: asyncio.Future[Any]


class Writer:
    """Runs operations on a database in their order, in one thread.

    Args:
        engine: The database.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine, self._closed = engine, False
        self._operations: queue.SimpleQueue[Operation | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._serve, name="job store", daemon=True)
        self._thread.start()

    def run(self, operation: Callable[[Connection], T]) -> asyncio.Future[T]:
        """Run an operation, and return the future of its result, which is set once it is on disk.

        Raises:
            JobStoreError: The writer is closed.
        """
        if self._closed:
            raise JobStoreError("The store of background jobs is closed.")
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._operations.put(Operation(operation, future))
        return future

    def close(self) -> None:
        """Run the operations that wait, and end the thread."""
        self._closed = True
        self._operations.put(None)
        self._thread.join()

    def _serve(self) -> None:
        """Run operations until the writer is closed."""
        is_open = True
        while is_open:
            batch = [self._operations.get()]
            with contextlib.suppress(queue.Empty):
                while len(batch) < MAX_OPERATIONS and batch[-1] is not None:
                    batch.append(self._operations.get_nowait())
            is_open = batch[-1] is not None
            operations = [each for each in batch if each is not None]
            _resolve(operations, self._commit(operations))

    def _commit(self, operations: list[Operation]) -> list[Any]:
        """Run operations in one transaction, and return the result or the exception of each."""
        if not operations:
            return []
        kind = JobStoreError
        try:
            with self._engine.connect() as connection:
                outcomes = [_outcome(each, connection) for each in operations]
                kind = UncertainCommitError  # The answer of the database may be lost after it has stored the changes.
                connection.commit()
        except Exception as error:  # noqa: BLE001 (it is raised where the results are awaited)
            outcomes = [_store_error(error, kind)] * len(operations)
        return outcomes


def _outcome(operation: Operation, connection: Connection) -> Any:
    """Return the result or the exception of an operation; one that fails changes nothing.

    Raises:
        Exception: It has ended the transaction of all operations.
    """
    savepoint = connection.begin_nested()
    try:
        result = operation.run(connection)
        savepoint.commit()
    except Exception as error:
        if not _is_in_transaction(connection):
            raise
        if savepoint.is_active:
            savepoint.rollback()
        return _store_error(error)
    return result


def _is_in_transaction(connection: Connection) -> bool:
    """Return whether a transaction goes on: SQLite ends it where the disk or the memory is full, or a file fails."""
    return not connection.invalidated and getattr(connection.connection.dbapi_connection, "in_transaction", True)


def _store_error(error: Exception, kind: type[JobStoreError] = JobStoreError) -> Exception:
    """Return the error of an operation: that of the database as one of ours."""
    if not isinstance(error, SQLAlchemyError):
        return error
    # The other lines are details, such as the values of a row.
    reason = next(iter(str(getattr(error, "orig", None) or error).splitlines()), type(error).__name__)
    stored = " at a commit, and the change may be stored" if kind is UncertainCommitError else ""
    found = kind(f"The store of background jobs failed{stored}: {reason}.", hint="Check its disk or its server.")
    found.__cause__ = error
    return found


def _resolve(operations: list[Operation], outcomes: list[Any]) -> None:
    """Set the results of operations, in the event loops that wait for them."""

    def resolve(future: asyncio.Future[Any], outcome: Any) -> None:
        if future.done():  # The caller may have left.
            return
        if isinstance(outcome, Exception):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)

    for operation, outcome in zip(operations, outcomes, strict=True):
        with contextlib.suppress(RuntimeError):  # The event loop is closed.
            operation.future.get_loop().call_soon_threadsafe(resolve, operation.future, outcome)
