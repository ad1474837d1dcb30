"""Files that several servers and nodes share."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from octabox.errors import CapacityError, ConfigError, MissingDependencyError, OctaboxError
from octabox.storage import FileStore, hide_secrets, is_file_name, random_name


@pytest.fixture(params=["folder", "file", "memory", "chained"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the URL of an empty store: a folder, its URL, an object store, and a folder within another file system."""
    urls = {
        "folder": str(tmp_path / "store"),
        "file": f"file://{tmp_path}/store",
        "memory": f"memory://{tmp_path}",
        "chained": f"dir::memory://{tmp_path}",
    }
    return urls[request.param]


def test_files_are_found_by_all_that_use_the_store(url: str) -> None:
    """What one has written another one finds, reads, lists and deletes; folders of a store are apart."""
    one, two = FileStore(url).within("results"), FileStore(url, "results")
    name, began = random_name(".png"), time.time()
    one.write(name, b"content")
    found = two.find(name)
    assert found is not None

    assert (name, 7) == (found.name, found.size)
    assert began - 2 <= found.modified <= time.time() + 2
    assert b"content" == two.read(name)
    assert [found] == list(two.files())
    assert one.id == two.id != FileStore(url).within("jobs").id
    assert FileStore(url).within("jobs").find(name) is None
    two.drop([name, random_name()])
    assert one.find(name) is None


def test_only_what_is_old_and_unknown_is_swept(url: str) -> None:
    """Known files stay, and so do those that are younger than the age."""
    store, names = FileStore(url), [random_name() for _ in range(3)]
    for name in names:
        store.write(name, b"x")

    assert 0 == store.sweep(age=60)
    assert 2 == store.sweep(names[:1])
    assert names[:1] == [file.name for file in store.files()]


def test_a_store_is_checked_by_a_file(url: str) -> None:
    """Nothing is left of it."""
    store = FileStore(url)
    store.check()

    assert [] == list(store.files())


@pytest.mark.parametrize(
    "name", ["../secret-file-of-others", "/etc/passwd-and-more-of-it", "short", "", "a" * 20 + "/b"]
)
def test_names_of_clients_lead_to_no_other_files(url: str, name: str) -> None:
    """Only what has the form of a random name is looked up."""
    assert FileStore(url).find(name) is None
    assert not is_file_name(name)


def test_local_files_are_private_and_complete(tmp_path: Path) -> None:
    """Only the server's user may enter the folder, and no part of a file is left where it cannot be written."""
    store = FileStore(str(tmp_path / "store"))
    store.write(random_name(), b"x")

    assert 0o700 == (tmp_path / "store").stat().st_mode & 0o777
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(CapacityError, match="cannot be stored in `file_store`") as caught:
        FileStore(str(tmp_path / "file")).check()
    assert caught.value.hint


def test_a_file_that_is_gone_is_an_error_with_the_store(tmp_path: Path) -> None:
    """The message has the store, and no path that a client could not use."""
    with pytest.raises(CapacityError, match="cannot be read: FileNotFoundError"):
        FileStore(str(tmp_path)).read(random_name())


def test_a_store_that_does_not_respond_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A file that it may have is not missing: a link would be taken to have expired."""
    store, name = FileStore(f"memory://{tmp_path}"), random_name()
    store.write(name, b"x")

    def fail(*_: object, **__: object) -> None:
        raise ConnectionError("No route to host.")

    monkeypatch.setattr(MemoryFileSystem, "info", fail)
    with pytest.raises(CapacityError, match="cannot be read: ConnectionError: No route to host"):
        store.find(name)
    assert store.find("not a name") is None


def test_a_url_that_is_not_valid_is_refused() -> None:
    """The error names the setting."""
    with pytest.raises(ConfigError, match="`file_store`") as caught:
        FileStore("nonsense://bucket")
    assert "file_store" == caught.value.parameter


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """File systems such as S3 have their own packages."""
    monkeypatch.setitem(__import__("sys").modules, "s3fs", None)
    with pytest.raises(MissingDependencyError, match="s3fs") as caught:
        FileStore("s3://bucket/octabox")
    assert "pip install" in (caught.value.hint or "")


def test_relative_folders_do_not_change_with_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store is where it was when it was opened."""
    monkeypatch.chdir(tmp_path)
    store, name = FileStore("store"), random_name()
    monkeypatch.chdir(os.sep)
    store.write(name, b"x")

    assert (tmp_path / "store" / name).read_bytes() == b"x"


class Unreachable(MemoryFileSystem):  # type: ignore[misc]
    """A file system whose errors have the URL."""

    protocol = "unreachable"

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.url = ""

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return "/" + path.partition("://")[2].rpartition("@")[2].partition("?")[0].strip("/")

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **options: Any) -> bytes:
        """Fail."""
        raise ConnectionError(f"{SECRET_URL}/{path}: no route, as for '{SECRET_URL}'")

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **options: Any) -> None:
        """Fail."""
        self.cat_file(path)


#: The URL of a store, with all that may be secret.
SECRET_URL = "unreachable://me:hunter2@files.example/octabox?token=abc123"


@pytest.mark.parametrize(
    "use",
    [
        lambda _: FileStore(SECRET_URL).read(random_name()),
        lambda _: FileStore(SECRET_URL).check(),
        lambda _: FileStore("nonsense://me:hunter2@files.example/octabox?token=abc123"),
        lambda patch: (
            patch.setitem(sys.modules, "s3fs", None),
            FileStore("s3://me:hunter2@files.example/octabox?token=abc123"),
        ),
    ],
)
def test_what_is_secret_in_a_url_is_not_shown(
    use: Callable[[pytest.MonkeyPatch], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Clients get these errors; the rest of the URL is there, so that it can be corrected."""
    fsspec.register_implementation("unreachable", Unreachable, clobber=True)
    with pytest.raises(OctaboxError, match=r"://\*\*\*@files\.example/octabox\?\*\*\*") as caught:
        use(monkeypatch)

    shown = f"{caught.value.message} {caught.value.hint}"
    assert [] == [each for each in ("hunter2", "abc123", "me:") if each in shown]


@pytest.mark.parametrize(
    "url", ["/folder/a@b?c", "s3://bucket/a@b", "dir::memory://folder", "relative", r"C:\folder", "file:///a/b"]
)
def test_the_rest_of_a_url_is_shown(url: str) -> None:
    """A folder has nothing that is secret, whatever its name."""
    assert url == hide_secrets(url)
