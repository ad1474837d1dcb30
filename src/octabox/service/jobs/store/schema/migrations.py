"""Create the tables of background jobs, and convert those of older versions."""

from __future__ import annotations

import secrets
from collections.abc import Sequence

from sqlalchemy import Connection, func, select, text
from sqlalchemy.schema import CreateColumn

from octabox.errors import ConfigError
from octabox.service.jobs.store.schema import statements
from octabox.service.jobs.store.schema.tables import deliveries, jobs, metadata

#: Version of the tables; a change of them has to convert those of older versions.
VERSION = "3"

#: The columns that a version has added, by the version before it, in the order of the versions.
ADDED = {"1": ("server", "cancel_requested", "bytes"), "2": ("marks",)}


def create_tables(connection: Connection) -> None:
    """Create the tables of a new database, or convert those of an older version.

    Raises:
        ConfigError: The tables are of a newer version.
    """
    metadata.create_all(connection)
    found = statements.get_property(connection, "version")
    if found in ADDED:
        versions = [*ADDED]
        later = versions[versions.index(found) :]
        _add_columns(connection, [name for version in later for name in ADDED[version]])
    elif found not in {None, VERSION}:
        message = f"The store of background jobs has version {found}, and this server needs version {VERSION}."
        hint = "Use the version of Octabox that made it, or set another `data_dir` or `job_store`."
        raise ConfigError(message, hint=hint)
    for index in (*jobs.indexes, *deliveries.indexes):  # One that was added later changes nothing for older servers.
        index.create(connection, checkfirst=True)
    statements.set_property(connection, "version", VERSION)
    if statements.get_property(connection, "secret") is None:
        statements.set_property(connection, "secret", secrets.token_hex(32))
    if statements.get_property(connection, statements.LAST_NUMBER) is None:
        last = connection.execute(select(func.max(jobs.c.number))).scalar() or 0
        statements.set_property(connection, statements.LAST_NUMBER, str(last))


def _add_columns(connection: Connection, names: Sequence[str]) -> None:
    """Add columns to the table of jobs."""
    for name in names:
        column = CreateColumn(jobs.c[name]).compile(dialect=connection.dialect)
        connection.execute(text(f"ALTER TABLE {jobs.name} ADD COLUMN {column}"))
