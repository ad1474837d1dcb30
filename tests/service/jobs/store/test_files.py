"""Files of jobs: in the data folder, or where servers with their own data folders share them."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from octabox.frontends.http.results import Results
from octabox.service.jobs import JobQueue, JobStore
from octabox.service.jobs.errors import JobStoreError
from octabox.service.jobs.store.files import FolderFiles, JobFiles, SharedFiles
from octabox.storage import FileStore
from queue_houses import House, Servers


@pytest.fixture(params=["folder", "shared"])
def files(request: pytest.FixtureRequest, tmp_path: Path) -> JobFiles:
    """Return both kinds of files in turn."""
    return FolderFiles(tmp_path) if request.param == "folder" else SharedFiles(FileStore(str(tmp_path)))


def test_files_are_kept_until_they_are_deleted(files: JobFiles) -> None:
    """Each has a name of its own; unknown ones are swept."""
    first, second = files.write(b"one", ".png"), files.write(b"three")
    found = files.find(first)

    assert found is not None
    assert (3, b"one") == (found.size, files.read(first))
    assert 1 == files.sweep([first], 0)
    assert files.find(second) is None
    files.drop([first, second])
    assert files.find(first) is None
    with pytest.raises(JobStoreError, match="cannot be read"):
        files.read(first)


def test_a_file_that_cannot_be_written_is_an_error_of_the_store(files: JobFiles, tmp_path: Path) -> None:
    """Its client is told so, and the job is not accepted."""
    tmp_path.rmdir()
    tmp_path.write_bytes(b"not a folder")
    with pytest.raises(JobStoreError, match="stored"):
        files.write(b"x")
    tmp_path.unlink()


def test_the_newest_files_are_not_swept(files: JobFiles, tmp_path: Path) -> None:
    """They may be of a server that has not stored their job yet."""
    old, new = files.write(b"old"), files.write(b"new")
    os.utime(next(tmp_path.rglob(old)), (1e9, 1e9))

    assert 1 == files.sweep([], 600)
    assert (None, b"new") == (files.find(old), files.read(new))


def test_a_file_that_cannot_be_deleted_keeps_no_other(files: JobFiles, tmp_path: Path) -> None:
    """Such as one that a program has replaced by a folder: it is left, and the others are deleted."""
    names = [files.write(b"x") for _ in range(3)]
    left = next(tmp_path.rglob(names[0]))
    left.unlink()
    (left / "inner").mkdir(parents=True)
    files.drop(names[:2])
    swept = files.find(names[1])
    files.sweep([], 0)

    assert (None, None) == (swept, files.find(names[2]))
    assert left.exists()


class SharingServers(Servers):
    """Two servers with a data folder each, which share a database and a store of files."""

    def __init__(self, folder: Path) -> None:
        self.one, self.two = House(folder / "one"), House(folder / "two")
        url = f"sqlite:///{folder}/jobs.db"
        for house in (self.one, self.two):
            house.folder.mkdir()
            store = JobStore(url, house.folder, FileStore(str(folder / "files")))
            house.queue = JobQueue(house.runs, store, clock=lambda: self.one.now)


async def test_servers_with_their_own_folders_share_jobs(tmp_path: Path) -> None:
    """Neither takes the other one's jobs while it runs, though it sees no lock of it; both serve the results."""
    servers = SharingServers(tmp_path)
    await servers.open()
    try:
        await servers.one.accept("first", inputs={"image": (b"a large image",)})
        (job,) = await servers.two.ended("first")
        results = Results(60, stored=servers.two.queue.results)
        found = results.find(job.files[0])
        assert found is not None
        content = found.path.read_bytes()
        results.close()
        servers.one.now = time.time() + 25 * 3600
        expired = results.find(job.files[0])
    finally:
        await servers.close()

    assert (b"3", None) == (content, expired)
    assert {"files", "jobs.db", "one", "two"} <= {path.name for path in tmp_path.iterdir()}
    assert not list((tmp_path / "one").rglob("*.png"))


async def test_a_server_without_the_store_is_refused(tmp_path: Path) -> None:
    """It could not read the files of the others."""
    servers = SharingServers(tmp_path)
    await servers.open()
    other = JobQueue(
        servers.one.runs, JobStore(f"sqlite:///{tmp_path}/jobs.db", tmp_path / "three"), clock=lambda: 1000.0
    )
    try:
        with pytest.raises(JobStoreError, match="file_store"):
            await other.open()
    finally:
        await other.close()
        await servers.close()
