"""Read files from folders that may hold anything, such as a FIFO, a socket or a broken link; write files atomically."""

from __future__ import annotations

import errno
import os
import secrets
import stat
import tempfile
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

#: What a path is that is not a regular file, by the test of its mode.
KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a FIFO"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


@dataclass(frozen=True)
class FolderContent:
    """The files of a folder.

    Args:
        files: The readable regular files, sorted.
        faults: Why other paths cannot be read, each as a sentence.
    """

    files: tuple[Path, ...] = ()
    faults: dict[Path, str] = field(default_factory=dict)


def existing_path(text: str, folder: Path = Path()) -> Path | None:
    """Return the absolute path that a text names, if there is one; None for any other text, such as a long or odd one.

    Args:
        text: The text; ``~`` is the user's folder.
        folder: What a relative path is relative to.
    """
    # pathlib raises on names that are too long and on users that do not exist.
    path = os.path.abspath(folder / os.path.expanduser(text))  # noqa: PTH100, PTH111
    return Path(path) if os.path.exists(path) else None  # noqa: PTH110


def find_fault(path: Path, *, root: Path | None = None, folders: bool = False) -> str | None:
    """Return why a path is not a readable regular file, as a sentence; None if it is one.

    Args:
        path: The path; links are followed.
        root: Folder that the path must not leave by links.
        folders: Whether a readable folder is accepted as well.
    """
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116 (pathlib raises on a circle of links)
    except OSError as error:
        is_broken = error.errno in (errno.ENOENT, errno.ELOOP) and os.path.islink(path)  # noqa: PTH114 (likewise)
        return "The link is broken." if is_broken else f"It cannot be read: {error.strerror}."
    if root is not None and not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(root)):
        return f"It is a link out of the folder {root}."
    is_folder = stat.S_ISDIR(mode)
    if not stat.S_ISREG(mode) and not (folders and is_folder):
        return f"It is {_kind(mode)}, not a file."
    if not os.access(path, os.R_OK | os.X_OK if is_folder else os.R_OK):
        return f"It cannot be read: {os.strerror(errno.EACCES)}."
    return None


def open_file(path: Path) -> BinaryIO:
    """Open a regular file for reading.

    Raises:
        OSError: It cannot be opened, or is not a regular file; opening a FIFO would wait for a writer.
    """
    return open(path, "rb", opener=_open_regular)


def read_file(path: Path, limit: int = -1) -> bytes:
    """Return the content of a regular file, at most a number of bytes.

    Raises:
        OSError: It cannot be read, or is not a regular file.
    """
    with open_file(path) as stream:
        return stream.read(limit)


def check_writable(folder: Path) -> None:
    """Check that a file can be created in a folder, or the folder itself, by a file without a name, which leaves no trace.

    Permissions alone are not enough: a file system may be mounted for reading only.

    Raises:
        OSError: It cannot.
    """
    while not os.path.lexists(folder) and folder != folder.parent:
        folder = folder.parent
    with tempfile.TemporaryFile(dir=folder):
        pass


def write_file(path: Path, content: bytes) -> None:
    """Write a file atomically: readers see the previous content or all of the new one.

    A new file has the permissions that the umask leaves, unlike one of `tempfile`; an existing one keeps its own.

    Raises:
        OSError: It cannot be written.
    """
    # Each writer has a separate temporary file, since several may write the same one.
    part = path.with_name(f".octabox-{secrets.token_hex(8)}.part")
    try:
        with part.open("xb") as file:
            file.write(content)
            if path.is_file():
                part.chmod(stat.S_IMODE(path.stat().st_mode))
        part.replace(path)
    except OSError:
        part.unlink(missing_ok=True)
        raise


def write_new_file(paths: Iterable[Path], content: bytes) -> Path:
    """Write a file at the first of some paths that does not exist, and return that path.

    Of several writers of one path, one gets it.

    Raises:
        OSError: It cannot be written; nothing of it stays.
    """
    for path in paths:
        try:
            path.touch(exist_ok=False)
        except FileExistsError:
            continue
        try:
            write_file(path, content)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        return path
    raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))


def apply_umask(folder: Path) -> None:
    """Set the permissions of all files of a folder to those of a new file; some libraries write private ones."""
    probe = folder / f".octabox-{secrets.token_hex(8)}.part"
    with probe.open("xb") as file:
        mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
    probe.unlink()
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            path.chmod(mode)


def walk_files(folder: Path, suffixes: Collection[str], *, leave: bool = True) -> FolderContent:
    """Return the files below a folder with one of these suffixes; hidden ones are skipped.

    Args:
        folder: The folder; it may be missing.
        suffixes: Suffixes in lower case.
        leave: Whether links may lead out of the folder.
    """
    files, faults = [], dict[Path, str]()

    def on_error(error: OSError) -> None:
        if error.errno != errno.ENOENT:
            faults[Path(error.filename)] = f"It cannot be read: {error.strerror}."

    for parent, folders, names in os.walk(folder, onerror=on_error):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted((*names, *folders)):
            if name.startswith(".") or Path(name).suffix.lower() not in suffixes:
                continue
            path = Path(parent) / name
            if fault := find_fault(path, root=None if leave else folder):
                faults[path] = fault
            else:
                files.append(path)
    return FolderContent(tuple(sorted(files)), faults)


def _open_regular(path: str, flags: int) -> int:
    """Open a regular file as the opener of `open`."""
    # Without O_NONBLOCK, which Windows lacks, a FIFO without a writer would block.
    descriptor = os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode):
        return descriptor
    os.close(descriptor)
    raise OSError(errno.EINVAL, f"it is {_kind(mode)}, not a file", path)


def _kind(mode: int) -> str:
    """Return what a path of this mode is."""
    return next((name for is_kind, name in KINDS if is_kind(mode)), "a special file")
