"""Files in folders that may hold anything."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from octabox.security.filesystem import (
    apply_umask,
    existing_path,
    find_fault,
    read_file,
    walk_files,
    write_file,
    write_new_file,
)

FAULTS = {
    "fifo.txt": "It is a FIFO, not a file.",
    "socket.txt": "It is a socket, not a file.",
    "folder.txt": "It is a folder, not a file.",
    "nowhere.txt": "The link is broken.",
    "circle.txt": "The link is broken.",
    "device.txt": "It is a device, not a file.",
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with a file of each kind; the address of a socket must be short."""
    folder = tmp_path / "files"
    folder.mkdir()
    monkeypatch.chdir(folder)
    os.mkfifo("fifo.txt")
    with socket.socket(socket.AF_UNIX) as opened:
        opened.bind("socket.txt")
    Path("folder.txt").mkdir()
    for name, target in (("nowhere", "missing"), ("circle", "circle.txt"), ("device", "/dev/null")):
        Path(f"{name}.txt").symlink_to(target)
    Path("fine.txt").write_text("fine")
    Path("folder.txt/inner.TXT").write_text("inner")
    return folder


@pytest.fixture(params=[0o022, 0o077, 0o002])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    """Set the umask, and return it."""
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def mode(path: Path) -> int:
    """Return the permissions of a file."""
    return path.stat().st_mode & 0o777


def test_a_new_file_has_the_permissions_of_the_umask(tmp_path: Path, umask: int) -> None:
    """One that is replaced keeps its own, and no other file is left."""
    file, old = tmp_path / "new", tmp_path / "old"
    write_file(file, b"one")
    old.touch()
    old.chmod(0o640)
    write_file(old, b"two")

    assert (b"one", 0o666 & ~umask) == (file.read_bytes(), mode(file))
    assert (b"two", 0o640) == (old.read_bytes(), mode(old))
    assert {file, old} == set(tmp_path.iterdir())


def test_a_file_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    """The folder in its place stays, without a file next to it."""
    (tmp_path / "taken").mkdir()
    with pytest.raises(OSError, match="taken"):
        write_file(tmp_path / "taken", b"")

    assert [tmp_path / "taken"] == list(tmp_path.iterdir())


def test_a_new_file_takes_the_first_free_path(tmp_path: Path, umask: int) -> None:
    """A link is in the way as well, wherever it leads; nothing else is left in the folder."""
    paths = [tmp_path / name for name in ("taken", "link", "free", "more")]
    paths[0].write_bytes(b"theirs")
    paths[1].symlink_to(tmp_path / "nowhere")

    assert paths[2] == write_new_file(paths, b"mine")
    assert (b"mine", 0o666 & ~umask) == (paths[2].read_bytes(), mode(paths[2]))
    assert paths[3] == write_new_file(paths, b"mine")
    assert b"theirs" == paths[0].read_bytes()
    assert set(paths) == set(tmp_path.iterdir())
    with pytest.raises(FileExistsError):
        write_new_file(paths, b"")


def test_a_new_file_that_cannot_be_written_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even its name."""

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="No space"):
        write_new_file([tmp_path / "new"], b"")

    assert [] == list(tmp_path.iterdir())


def test_writers_of_one_path_have_one_file_each(tmp_path: Path) -> None:
    """None of them overwrites that of another, however they meet."""
    names = [tmp_path / f"{number}" for number in range(200)]
    with ThreadPoolExecutor(8) as pool:
        contents = [str(number).encode() for number in range(100)]
        written = list(pool.map(lambda content: write_new_file(names, content), contents))

    assert contents == [path.read_bytes() for path in written]


def test_files_of_a_library_get_the_permissions_of_the_umask(tmp_path: Path, umask: int) -> None:
    """Safetensors writes private files; links are not followed."""
    (tmp_path / "folder").mkdir()
    private, elsewhere = tmp_path / "folder" / "weights", tmp_path / "elsewhere"
    for file in (private, elsewhere):
        file.touch()
        file.chmod(0o600)
    (tmp_path / "folder" / "link").symlink_to(elsewhere)
    apply_umask(tmp_path / "folder")

    assert (0o666 & ~umask, 0o600) == (mode(private), mode(elsewhere))
    assert {"weights", "link"} == {path.name for path in (tmp_path / "folder").iterdir()}


def test_what_is_no_file_is_named_and_never_opened(folder: Path) -> None:
    """A FIFO would wait for a writer for ever."""
    content = walk_files(folder, {".txt"})

    assert (folder / "fine.txt", folder / "folder.txt" / "inner.TXT") == content.files
    assert {folder / name: fault for name, fault in FAULTS.items()} == content.faults


@pytest.mark.parametrize("name", FAULTS)
def test_reading_never_waits(folder: Path, name: str) -> None:
    """Whatever it is, it is an error at once."""
    with pytest.raises(OSError, match=r"it is a|No such|Too many|Is a|address"):
        read_file(folder / name)


def test_a_file_is_read_to_its_limit(folder: Path) -> None:
    """Without a limit, all of it."""
    assert (b"fine", b"fi") == (read_file(folder / "fine.txt"), read_file(folder / "fine.txt", 2))


def test_a_link_out_of_the_folder(folder: Path) -> None:
    """It is refused where links must stay inside; one that stays is not."""
    (folder.parent / "secret.txt").write_text("secret")
    (folder / "out.txt").symlink_to("../secret.txt")
    (folder / "in.txt").symlink_to("fine.txt")

    assert {"in.txt", "out.txt"} <= {path.name for path in walk_files(folder, {".txt"}).files}
    inside = walk_files(folder, {".txt"}, leave=False)
    assert "in.txt" in {path.name for path in inside.files}
    assert f"It is a link out of the folder {folder}." == inside.faults[folder / "out.txt"]


def test_what_may_not_be_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file or a folder without permission, such as `lost+found`."""
    monkeypatch.setattr(os, "access", lambda *_: False)

    for path in (folder, folder / "fine.txt"):
        assert "It cannot be read: Permission denied." == find_fault(path, folders=True)


def test_a_folder_that_is_missing_has_no_files(tmp_path: Path) -> None:
    """That is no fault; a file in its place is one."""
    (tmp_path / "file").touch()

    assert {} == walk_files(tmp_path / "missing", {".txt"}).faults
    assert {tmp_path / "file": "It cannot be read: Not a directory."} == walk_files(tmp_path / "file", ()).faults


@pytest.mark.parametrize("text", ["~nosuchuser/model", "a" * 5000, "a\0b", "no/such", ""])
def test_a_text_that_is_no_path_names_none(text: str, tmp_path: Path) -> None:
    """Without an error of the system; an empty one is the folder."""
    assert (tmp_path if text == "" else None) == existing_path(text, tmp_path)
