"""Results that clients fetch by URL."""

import os
import threading
import time
from pathlib import Path

import pytest

from octabox.errors import CapacityError
from octabox.frontends.http.results import Results
from octabox.service.jobs.results import StoredResult
from octabox.service.jobs.store.files import SharedFiles
from octabox.storage import FileStore
from octabox.types import Artifact


class Clock:
    """A clock that is set by hand."""

    now = 0.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


def artifact(size: int = 10) -> Artifact:
    """Return an artifact of this many bytes."""
    return Artifact("image", "image/webp", b"x" * size)


def test_kept_and_found() -> None:
    """What is kept is found, under a long name of its own."""
    results = Results(60)
    names = {results.keep(artifact()) for _ in range(3)}
    found = [results.find(name) for name in names]
    contents = [result.path.read_bytes() for result in found if result]
    results.close()

    assert [b"x" * 10] * 3 == contents
    assert all(len(name) > 32 and name.endswith(".webp") for name in names)


def test_names_end_like_files() -> None:
    """A name ends as files of its media type do, whatever the media type is called."""
    results = Results(60)
    names = [results.keep(Artifact("audio", media_type, b"x")) for media_type in ("audio/mpeg", "model/gltf-binary")]
    results.close()

    assert [".mp3", ".glb"] == [Path(name).suffix for name in names]


def test_a_file_that_cannot_be_deleted_keeps_no_other(caplog: pytest.LogCaptureFixture) -> None:
    """The others expire, and new results are kept: no request fails because of the result of another one."""
    clock = Clock()
    results = Results(60, clock=clock)
    names = [results.keep(artifact()) for _ in range(2)]
    found = [results.find(name) for name in names]
    assert found[0]
    assert found[1]
    found[0].path.unlink()
    (found[0].path / "inner").mkdir(parents=True)
    clock.now = 60
    results.expire()
    later = results.find(results.keep(artifact()))
    results.close()

    assert not found[1].path.exists()
    assert later
    assert "is not deleted" in caplog.text


def test_expired() -> None:
    """After its time a result is gone, its file too."""
    clock = Clock()
    results = Results(60, clock=clock)
    name = results.keep(artifact())
    result = results.find(name)
    clock.now = 60
    found = results.find(name)
    results.close()

    assert result is not None
    assert found is None
    assert not result.path.exists()


def test_expired_without_a_request() -> None:
    """Files go in time, even if nobody asks for any."""
    clock = Clock()
    results = Results(60, clock=clock)
    result = results.find(results.keep(artifact()))
    assert result is not None
    remaining = results.remaining(result)
    clock.now = 60
    results.expire()
    results.close()

    assert 60 == remaining
    assert 0 == results.remaining(result)
    assert not result.path.exists()


def test_oldest_make_room() -> None:
    """When there are too many bytes, the oldest go."""
    results = Results(60, max_bytes=25)
    names = [results.keep(artifact()) for _ in range(3)]
    there = [results.find(name) is not None for name in names]
    results.close()

    assert [False, True, True] == there


def test_files_are_private_and_go_at_the_end() -> None:
    """Only the server's user may read the folder, and closing deletes it."""
    results = Results(60)
    result = results.find(results.keep(artifact()))
    assert result is not None
    mode = result.path.parent.stat().st_mode & 0o777
    results.close()

    assert 0o700 == mode
    assert not result.path.parent.exists()


def test_kept_after_close() -> None:
    """A server that has closed its results can begin again."""
    results = Results(60)
    results.close()
    name = results.keep(artifact())
    found = results.find(name)
    results.close()

    assert found is not None


def test_full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk is a lack of room, and says what to do."""

    def full(self: Path, content: bytes) -> int:
        raise OSError(28, "No space left on device")

    results = Results(60)
    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(CapacityError, match="b64_json"):
        results.keep(artifact())
    monkeypatch.undo()
    name = results.keep(artifact())
    found = results.find(name)
    results.close()

    assert found is not None


def test_dropped() -> None:
    """What is dropped is gone, and dropping it again does no harm."""
    results = Results(60)
    name = results.keep(artifact())
    found = results.find(name)
    results.drop(name)
    results.drop(name)

    assert found is not None
    assert not found.path.exists()
    assert results.find(name) is None
    results.close()


def test_every_server_finds_what_a_shared_store_has(tmp_path: Path) -> None:
    """A result that one server has kept is found by another one, also after the first has stopped, until it expires."""
    store = FileStore(str(tmp_path / "store"))
    first, second = Results(60, shared=store), Results(60, shared=store)
    name = first.keep(artifact())
    first.close()
    found = second.find(name)
    assert found is not None

    assert (b"x" * 10, "image/webp") == (found.path.read_bytes(), found.media_type)
    assert 58 <= second.remaining(found) <= 60
    second.drop(name)
    assert second.find(name) is None
    assert [] == list(store.within("results").files())
    second.close()


def test_what_another_server_has_deleted_is_gone(tmp_path: Path) -> None:
    """Also where a copy of it was sent before."""
    store = FileStore(str(tmp_path / "store"))
    first, second = Results(60, shared=store), Results(60, shared=store)
    name = first.keep(artifact())
    found = second.find(name)
    first.drop(name)

    assert found is not None
    assert second.find(name) is None
    assert not found.path.exists()
    first.close()
    second.close()


class SlowStore:
    """Results of background jobs, which two requests read at the same time."""

    def __init__(self, files: SharedFiles) -> None:
        self.files, self.reads = files, 0
        self._both = threading.Barrier(2)

    def find(self, name: str) -> StoredResult | None:
        """Return a result."""
        file = self.files.find(name)
        return StoredResult(None, file.size, 60.0) if file else None

    def read(self, name: str) -> bytes:
        """Return the content of a result once two have asked for it."""
        self.reads += 1
        self._both.wait(20)
        return self.files.read(name)


def test_a_copy_that_is_being_sent_is_not_written_again(tmp_path: Path) -> None:
    """Two requests for a file that is not here yet: the second one takes what the first one has written."""
    stored = SlowStore(SharedFiles(FileStore(str(tmp_path))))
    name = stored.files.write(b"x" * 10, ".webp")
    results, written = Results(60, stored=stored), list[bytes]()
    with pytest.MonkeyPatch.context() as patch:
        write = Path.write_bytes

        def record(self: Path, content: bytes) -> int:
            written.append(content)
            return write(self, content)

        patch.setattr(Path, "write_bytes", record)
        threads = [threading.Thread(target=results.find, args=(name,)) for _ in range(2)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
    again = results.find(name)

    assert (2, [b"x" * 10]) == (stored.reads, written)
    assert again is not None
    assert again.media_type == "image/webp"
    stored.files.drop([name])
    assert results.find(name) is None
    results.close()


def test_expired_results_of_other_servers_are_deleted(tmp_path: Path) -> None:
    """A server that was killed leaves its results in the store; any server deletes those whose time is up."""
    store = FileStore(str(tmp_path / "store"))
    first, second = Results(60, shared=store), Results(60, shared=store)
    name = first.keep(artifact())
    fresh = first.keep(artifact())
    os.utime(tmp_path / "store" / "results" / name, (time.time() - 61,) * 2)

    assert second.find(name) is None
    second.expire()
    assert [fresh] == [file.name for file in store.within("results").files()]
    os.utime(tmp_path / "store" / "results" / fresh, (time.time() - 61,) * 2)
    second.expire()
    assert [fresh] == [file.name for file in store.within("results").files()], "all files are listed at intervals alone"
    first.close()
    second.close()


def test_a_store_that_fails_is_a_lack_of_room(tmp_path: Path) -> None:
    """The error names the setting; the request fails, since its link would not work at other servers."""
    (tmp_path / "store").write_bytes(b"not a folder")
    results = Results(60, shared=FileStore(str(tmp_path / "store")))

    with pytest.raises(CapacityError, match="file_store"):
        results.keep(artifact())
    with pytest.raises(CapacityError, match="file_store"):
        results.find("A" * 32)
