"""Open the database of background jobs, and the folder of their files, for this server alone."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

from octabox.errors import ConfigError, MissingDependencyError
from octabox.security.temporary_folder import TemporaryFolder
from octabox.service.jobs.errors import JobStoreError
from octabox.service.jobs.store import statements
from octabox.service.jobs.store.tables import metadata

try:
    import fcntl
except ImportError:  # pragma: no cover (Windows)
    fcntl = None  # type: ignore[assignment]

logger = logging.getLogger("octabox.jobs")

#: Version of the tables; a change of them has to convert those of older versions.
VERSION = "1"

#: Names in the data folder.
FOLDER, LOCK, FILE = "jobs", ".lock", "jobs.sqlite"

#: Key of PostgreSQL's advisory lock: the first bytes of "octabox".
ADVISORY_LOCK = int.from_bytes(b"octabox", "big")

#: Settings of SQLite. `synchronous` FULL, so that a transaction survives a power failure too.
PRAGMAS = ("journal_mode = WAL", "synchronous = FULL", "busy_timeout = 5000", "foreign_keys = ON")


@dataclass
class Database:
    """An open database, and the folder of the files that belong to it.

    Args:
        engine: The database.
        folder: The folder.
        durable: Whether the folder is kept when the server stops.
        closing: Functions to call at the end, the last one first.
    """

    engine: Engine
    folder: Path
    durable: bool
    closing: list[Callable[[], Any]] = field(default_factory=list)

    def close(self) -> None:
        """Close the database, so that another server can open it."""
        while self.closing:
            self.closing.pop()()


def open_database(url: str | None, data_folder: Path) -> Database:
    """Return the database of this server.

    Args:
        url: URL of the database; None is an SQLite file in the folder.
        data_folder: The data folder. If another server uses it, a temporary folder takes its place.

    Raises:
        JobStoreError: It cannot be opened, or another server uses it.
        ConfigError: The URL is not valid.
        MissingDependencyError: The driver of the database is not installed.
    """
    closing: list[Callable[[], Any]] = []
    try:
        folder, durable = _lock_folder(data_folder / FOLDER, closing)
        address = make_url(url) if url else URL.create("sqlite", database=str(folder / FILE))
        engine = _engine(address)
        closing.append(engine.dispose)
        if engine.dialect.name == "postgresql":
            closing.append(_lock_database(engine))
        _create_tables(engine)
    except BaseException as error:
        for close in reversed(closing):
            close()
        if isinstance(error, ArgumentError | NoSuchModuleError):
            message = "`job_store` is not the URL of a database."
            raise ConfigError(message, hint="Such as postgresql://user:password@host/name.") from None
        if isinstance(error, SQLAlchemyError | OSError):
            hint = "Check `data_dir` and `job_store`."
            raise JobStoreError(f"The store of background jobs cannot be opened: {error}.", hint=hint) from error
        raise
    return Database(engine, folder, durable, closing)


def _lock_folder(folder: Path, closing: list[Callable[[], Any]]) -> tuple[Path, bool]:
    """Return the folder, which no other server uses until it is closed, and whether it is kept."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(folder / LOCK, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        if fcntl is not None:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        logger.warning(
            "Another server uses %s, so background jobs of this one are lost when it stops. "
            "Set `data_dir` to another folder.",
            folder,
        )
        temporary = TemporaryFolder()
        closing.append(temporary.remove)
        return temporary.path, False
    closing.append(lambda: os.close(descriptor))
    return folder, True


def _engine(url: URL) -> Engine:
    """Return the engine of a database."""
    try:
        engine = create_engine(url, pool_pre_ping=url.get_backend_name() != "sqlite")
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


def _lock_database(engine: Engine) -> Callable[[], None]:
    """Lock a PostgreSQL database for this server, and return what unlocks it.

    Raises:
        JobStoreError: Another server has locked it.
    """
    connection = engine.connect().execution_options(isolation_level="AUTOCOMMIT")
    if not connection.execute(text("SELECT pg_try_advisory_lock(:key)"), {"key": ADVISORY_LOCK}).scalar():
        connection.close()
        message = "Another server uses the database of `job_store`."
        raise JobStoreError(message, hint="Give each server its own database.")
    # Closing the connection alone would return it to the pool, with its lock.
    return lambda: _close_quietly(connection)


def _close_quietly(connection: Connection) -> None:
    """Close a connection, which may be broken."""
    with contextlib.suppress(SQLAlchemyError):
        connection.invalidate()
        connection.close()


def _create_tables(engine: Engine) -> None:
    """Create the tables of a new database.

    Raises:
        JobStoreError: The tables are of another version.
    """
    with engine.begin() as connection:
        metadata.create_all(connection)
        found = statements.get_property(connection, "version")
        if found is None:
            statements.set_property(connection, "version", VERSION)
        elif found != VERSION:
            message = f"The store of background jobs has version {found}, and this server needs version {VERSION}."
            raise JobStoreError(message, hint="Use the version of Octabox that made it, or set another `data_dir`.")
