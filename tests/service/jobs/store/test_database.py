"""The database of background jobs."""

from __future__ import annotations

import fcntl
import importlib.util
from pathlib import Path

import pytest
from sqlalchemy import text

from octabox.errors import ConfigError, MissingDependencyError, OctaboxError
from octabox.service.jobs.errors import JobStoreError
from octabox.service.jobs.store.database import open_database
from octabox.service.jobs.store.schema import statements
from octabox.service.jobs.store.schema.tables import jobs


def test_a_transaction_survives_a_power_failure(tmp_path: Path) -> None:
    """SQLite writes ahead, and waits for the disk."""
    database = open_database(None, tmp_path)
    with database.engine.connect() as connection:
        found = [connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in ("journal_mode", "synchronous")]
    database.close()

    assert ["wal", 2] == found
    assert 0o700 == database.folder.stat().st_mode & 0o777


def test_servers_share_a_folder(tmp_path: Path) -> None:
    """Those of version 1 do not, which lock it for themselves."""
    first, second = open_database(None, tmp_path), open_database(None, tmp_path)
    assert first.folder == second.folder
    first.close()
    second.close()
    with (tmp_path / "jobs" / ".lock").open() as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with pytest.raises(JobStoreError, match="older version"):
            open_database(None, tmp_path)


def test_a_store_of_version_1_is_converted(tmp_path: Path) -> None:
    """Its jobs get the new columns, and new ones get later numbers."""
    database = open_database(None, tmp_path)
    with database.engine.begin() as connection:
        connection.execute(text("DROP INDEX jobs_by_server"))
        added = ("server", "cancel_requested", "bytes", "marks")
        for column in added:
            connection.execute(text(f"ALTER TABLE jobs DROP COLUMN {column}"))
        names = [column.name for column in jobs.columns if column.name not in added]
        row = dict.fromkeys(names, 1) | {"id": "a", "number": 7, "status": "queued", "media": "[]", "ended": None}
        columns, values = ", ".join(names), ", ".join(f":{name}" for name in names)
        connection.execute(text(f"INSERT INTO jobs ({columns}) VALUES ({values})"), row)
        connection.execute(text("DELETE FROM properties WHERE name = 'last_number'"))
        statements.set_property(connection, "version", "1")
    database.close()
    database = open_database(None, tmp_path)
    with database.engine.connect() as connection:
        found = connection.execute(text("SELECT id, server, bytes, marks FROM jobs")).one()
        assert "7" == statements.get_property(connection, "last_number")
    database.close()

    assert ("a", None, 0, "{}") == tuple(found)


def test_a_store_of_version_2_is_converted(tmp_path: Path) -> None:
    """Its jobs get the column for marks, and the columns that it has remain."""
    database = open_database(None, tmp_path)
    with database.engine.begin() as connection:
        connection.execute(text("ALTER TABLE jobs DROP COLUMN marks"))
        statements.set_property(connection, "version", "2")
    database.close()
    database = open_database(None, tmp_path)
    with database.engine.connect() as connection:
        columns = {row[1] for row in connection.exec_driver_sql("PRAGMA table_info(jobs)")}
        assert "3" == statements.get_property(connection, "version")
    database.close()

    assert set(jobs.columns.keys()) == columns


def test_another_version(tmp_path: Path) -> None:
    """A store that a newer version has made is left alone, which another attempt does not change."""
    database = open_database(None, tmp_path)
    with database.engine.begin() as connection:
        statements.set_property(connection, "version", "99")
    database.close()
    with pytest.raises(ConfigError, match="has version 99") as caught:
        open_database(None, tmp_path)

    assert "data_dir" in (caught.value.hint or "")


def test_a_file_that_is_not_a_database(tmp_path: Path) -> None:
    """Whatever it is, it stays, and the error says so once and for all."""
    (tmp_path / "jobs").mkdir()
    file = tmp_path / "jobs" / "jobs.sqlite"
    file.write_bytes(b"a text " * 1000)
    with pytest.raises(ConfigError, match="file is not a database"):
        open_database(None, tmp_path)

    assert b"a text " * 1000 == file.read_bytes()


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
    open_database(None, tmp_path).close()


@pytest.mark.skipif(importlib.util.find_spec("psycopg") is not None, reason="psycopg is installed")
def test_a_driver_that_is_not_installed(tmp_path: Path) -> None:
    """The error says what to install."""
    with pytest.raises(MissingDependencyError, match=r"psycopg.*pip install"):
        open_database("postgresql://host/name", tmp_path)


@pytest.mark.parametrize(("query", "limit"), [("", "10"), ("?connect_timeout=2", "2")])
def test_a_connection_has_a_time_limit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, query: str, limit: str) -> None:
    """A server of PostgreSQL that is gone is not waited for for minutes; the URL may have another limit."""
    psycopg = pytest.importorskip("psycopg")
    found: list[str] = []

    def connect(*_: object, **arguments: object) -> object:
        found.append(str(arguments["connect_timeout"]))
        raise psycopg.OperationalError("There is none.")

    monkeypatch.setattr(psycopg, "connect", connect)
    with pytest.raises(JobStoreError, match="There is none"):
        open_database(f"postgresql+psycopg://127.0.0.1:1/jobs{query}", tmp_path)

    assert [limit] == found
