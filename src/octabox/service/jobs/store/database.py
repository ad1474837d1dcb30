"""Open the database of background jobs, and the folder of their files, which several servers may share."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, DatabaseError, NoSuchModuleError, SQLAlchemyError

from octabox.errors import ConfigError, MissingDependencyError
from octabox.service.jobs.errors import JobStoreError
from octabox.service.jobs.store.schema.migrations import create_tables

try:
    import fcntl
except ImportError:  # pragma: no cover (Windows)
    fcntl = None  # type: ignore[assignment]

#: Names in the data folder.
FOLDER, LOCK, FILE = "jobs", ".lock", "jobs.sqlite"

#: Key of PostgreSQL's advisory lock: the first bytes of "octabox".
ADVISORY_LOCK = int.from_bytes(b"octabox", "big")

#: How often and after how many seconds the lock is tried.
LOCK_ATTEMPTS, LOCK_INTERVAL = 50, 0.1

#: Seconds after which a connection to PostgreSQL is given up: without a limit, a server that is gone is waited for for minutes.
CONNECT_TIMEOUT = 10

#: Settings of SQLite. `synchronous` FULL, so that a transaction survives a power failure too.
PRAGMAS = ("journal_mode = WAL", "synchronous = FULL", "busy_timeout = 5000", "foreign_keys = ON")


@dataclass
class Database:
    """An open database, and the folder of the files that belong to it.

    Args:
        engine: The database.
        folder: The folder.
        closing: Functions to call at the end, the last one first.
    """

    engine: Engine
    folder: Path
    closing: list[Callable[[], Any]] = field(default_factory=list)

    def close(self) -> None:
        """Close the database, so that another server can open it."""
        while self.closing:
            self.closing.pop()()


def open_database(url: str | None, data_folder: Path) -> Database:
    """Return the database of this server.

    Args:
        url: URL of the database; None is an SQLite file in the folder.
        data_folder: The data folder.

    Raises:
        JobStoreError: It cannot be opened now.
        ConfigError: The URL or the database is not valid, or it has the tables of a newer version.
        MissingDependencyError: The driver of the database is not installed.
    """
    closing: list[Callable[[], Any]] = []
    try:
        folder = _share_folder(data_folder / FOLDER, closing)
        address = make_url(url) if url else URL.create("sqlite", database=str(folder / FILE))
        engine = _engine(address)
        closing.append(engine.dispose)
        with engine.begin() as connection:
            _lock_tables(connection)
            create_tables(connection)
    except BaseException as error:
        for close in reversed(closing):
            close()
        if isinstance(error, ArgumentError | NoSuchModuleError):
            message = "`job_store` is not the URL of a database."
            raise ConfigError(message, hint="Such as postgresql://user:password@host/name.") from None
        if type(error) is DatabaseError:  # Its subclasses are of a database that can be read.
            message = f"The store of background jobs cannot be read: {error.orig}."
            raise ConfigError(
                message, hint="Move its file elsewhere, or set another `data_dir` or `job_store`."
            ) from error
        if isinstance(error, SQLAlchemyError | OSError):
            hint = "Check `data_dir` and `job_store`."
            raise JobStoreError(f"The store of background jobs cannot be opened: {error}.", hint=hint) from error
        raise
    return Database(engine, folder, closing)


def _share_folder(folder: Path, closing: list[Callable[[], Any]]) -> Path:
    """Return the folder, which servers of this version share; those of version 1 lock it for themselves.

    Raises:
        JobStoreError: A server of version 1 uses it.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(folder / LOCK, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        if fcntl is not None:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        message = f"A server of an older version uses {folder}."
        raise JobStoreError(message, hint="Stop it, or set `data_dir` to another folder.") from None
    closing.append(lambda: os.close(descriptor))
    return folder


def _engine(url: URL) -> Engine:
    """Return the engine of a database."""
    try:
        engine = create_engine(url, connect_args=_connect_args(url), pool_pre_ping=url.get_backend_name() != "sqlite")
    except ModuleNotFoundError as error:
        message = f"The package '{error.name}' for `job_store` is not installed."
        raise MissingDependencyError(message, hint="Install it: pip install 'octabox[postgres]'.") from error
    if engine.dialect.name == "sqlite":

        @event.listens_for(engine, "connect")
        def _(connection: Any, _: Any) -> None:
            # The driver would begin a transaction at the first change, which fails if another process writes.
            connection.isolation_level = None
            for pragma in PRAGMAS:
                connection.execute(f"PRAGMA {pragma}")

        @event.listens_for(engine, "begin")
        def _(connection: Connection) -> None:
            connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


def _connect_args(url: URL) -> dict[str, Any]:
    """Return the arguments of connections that the URL does not set, for drivers that use PostgreSQL's own library."""
    is_libpq = url.get_backend_name() == "postgresql" and url.get_driver_name() in {"psycopg", "psycopg2"}
    return {"connect_timeout": CONNECT_TIMEOUT} if is_libpq and "connect_timeout" not in url.query else {}


def _lock_tables(connection: Connection) -> None:
    """Let no other server create or convert the tables until the end of the transaction; SQLite does so by itself.

    Raises:
        JobStoreError: Another one has locked them for some time, as those of version 1 do.
    """
    if connection.dialect.name != "postgresql":
        return
    for _ in range(LOCK_ATTEMPTS):
        if connection.execute(text("SELECT pg_try_advisory_xact_lock(:key)"), {"key": ADVISORY_LOCK}).scalar():
            return
        time.sleep(LOCK_INTERVAL)
    message = "A server of an older version uses the database of `job_store`."
    raise JobStoreError(message, hint="Stop it, or give each server its own database.")
