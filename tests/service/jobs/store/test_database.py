"""The database of background jobs."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import pytest
from sqlalchemy import text

from octabox.errors import ConfigError, MissingDependencyError, OctaboxError
from octabox.service.jobs import JobQueue, JobStore, Submission
from octabox.service.jobs.errors import JobStoreError
from octabox.service.jobs.store import statements
from octabox.service.jobs.store.database import open_database
from octabox.types import GenerationRequest

#: Variable with the URL of an empty PostgreSQL database.
POSTGRES = "OCTABOX_TEST_POSTGRES"


def test_a_transaction_survives_a_power_failure(tmp_path: Path) -> None:
    """SQLite writes ahead, and waits for the disk."""
    database = open_database(None, tmp_path)
    with database.engine.connect() as connection:
        found = [connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in ("journal_mode", "synchronous")]
    database.close()

    assert ["wal", 2] == found
    assert (True, 0o700) == (database.durable, database.folder.stat().st_mode & 0o777)


def test_a_folder_belongs_to_one_server(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Another one has a temporary folder, and says so; after the end of the first it is free again."""
    first = open_database(None, tmp_path)
    second = open_database(None, tmp_path)
    assert second.folder.exists()
    second.close()
    first.close()
    third = open_database(None, tmp_path)
    third.close()

    assert (True, False, True) == (first.durable, second.durable, third.durable)
    assert not second.folder.exists()
    assert "Set `data_dir`" in caplog.text


def test_another_version(tmp_path: Path) -> None:
    """A store that a newer version has made is left alone."""
    database = open_database(None, tmp_path)
    with database.engine.begin() as connection:
        statements.set_property(connection, "version", "99")
    database.close()
    with pytest.raises(JobStoreError, match="has version 99"):
        open_database(None, tmp_path)


@pytest.mark.parametrize(
    ("url", "kind", "message"),
    [
        ("postgresql+nothing://host/name", ConfigError, "job_store"),
        ("sqlite:////nowhere/at/all/x.sqlite", JobStoreError, "cannot be opened"),
    ],
)
def test_what_cannot_be_opened(tmp_path: Path, url: str, kind: type[OctaboxError], message: str) -> None:
    """The error names the setting, and the folder is free again."""
    with pytest.raises(kind, match=message):
        open_database(url, tmp_path)
    database = open_database(None, tmp_path)
    database.close()

    assert database.durable


@pytest.mark.skipif(importlib.util.find_spec("psycopg") is not None, reason="psycopg is installed")
def test_a_driver_that_is_not_installed(tmp_path: Path) -> None:
    """The error says what to install."""
    with pytest.raises(MissingDependencyError, match=r"psycopg.*pip install"):
        open_database("postgresql://host/name", tmp_path)


@pytest.mark.network
async def test_postgres(tmp_path: Path) -> None:
    """Jobs are stored in PostgreSQL, which belongs to one server."""
    if POSTGRES not in os.environ:
        pytest.skip(f"{POSTGRES} is not set to the URL of an empty database")
    store = JobStore(os.environ[POSTGRES], tmp_path)
    await store.open()
    with pytest.raises(JobStoreError, match="Another server"):
        open_database(os.environ[POSTGRES], tmp_path / "other")
    await store.close()

    class Nothing:
        async def validate(self, request: GenerationRequest) -> GenerationRequest:
            """Accept it."""
            return request

    queue = JobQueue(Nothing(), JobStore(os.environ[POSTGRES], tmp_path))  # type: ignore[arg-type]
    await queue.open()
    await queue.controls.pause()
    accepted = await queue.accept([Submission(GenerationRequest("demo"))])
    await queue.close()
    database = open_database(os.environ[POSTGRES], tmp_path)
    with database.engine.connect() as connection:
        assert accepted.jobs[0].id in connection.execute(text("SELECT id FROM jobs")).scalars().all()
    database.close()
