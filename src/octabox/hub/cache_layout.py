"""The layout of the Hub's cache, which huggingface_hub defines: blobs by checksum, and links to them by commit and name."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath

from huggingface_hub import constants

from octabox.security.filesystem import read_file, write_file
from octabox.security.json_files import read_json

try:
    import fcntl
except ImportError:  # Windows has no such locks, and its files cannot be deleted while they are open.
    fcntl = None  # type: ignore[assignment]

#: Suffix of a download that is not complete. The library's own have another one, and are never continued.
PARTIAL_SUFFIX = ".octabox.incomplete"

_COMMIT = re.compile(r"[0-9a-f]{40}")
_DIGEST = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")

#: Maximum bytes to read of the file with the commit of a branch or tag.
_MAX_REF = 100

#: Version of the format of the cached lists of files.
_TREE_FORMAT = 1


@dataclass(frozen=True)
class RemoteFile:
    """A file of a repository at a commit.

    Args:
        path: Its path in the repository.
        size: Its size in bytes.
        digest: Its checksum, which is the name of its blob: a SHA-256, or git's for files in git.
    """

    path: str
    size: int
    digest: str

    @property
    def is_large(self) -> bool:
        """Whether it is stored outside of git."""
        return len(self.digest) == hashlib.sha256().digest_size * 2

    @property
    def is_safe(self) -> bool:
        """Whether its name and its checksum cannot lead out of the folder of its repository."""
        return stays_inside(self.path) and _DIGEST.fullmatch(self.digest) is not None

    def hasher(self) -> hashlib._Hash:
        """Return the start of the computation of its checksum."""
        if self.is_large:
            return hashlib.sha256()
        # Git's checksums are SHA-1 (RFC 3174) of a header and the content; they are not used against attacks here.
        return hashlib.sha1(b"blob %d\0" % self.size, usedforsecurity=False)


@dataclass(frozen=True)
class CachedRepo:
    """The folder of a repository in the cache.

    Args:
        repo: The repository.
    """

    repo: str

    @property
    def name(self) -> str:
        """Name of the folder."""
        return "--".join(("models", *self.repo.split("/")))

    @property
    def folder(self) -> Path:
        """The folder."""
        return Path(constants.HF_HUB_CACHE) / self.name

    def commit(self, revision: str | None = None) -> str | None:
        """Return the commit of a revision in the cache; None if it is not there."""
        name = revision or constants.DEFAULT_REVISION
        if is_commit(name):
            return name
        if not stays_inside(name):
            return None
        try:
            content = read_file(self.folder / "refs" / name, _MAX_REF).decode("ascii").strip()
        except (OSError, ValueError):
            return None
        return content if is_commit(content) else None

    def snapshot(self, commit: str) -> Path:
        """Return the folder with the files of a commit."""
        return self.folder / "snapshots" / commit

    def blob(self, file: RemoteFile) -> Path:
        """Return the place of a file's content."""
        return self.folder / "blobs" / file.digest

    def partial(self, file: RemoteFile) -> Path:
        """Return the place of the part of a file that has been downloaded."""
        return self.folder / "blobs" / f"{file.digest}{PARTIAL_SUFFIX}"

    def lock(self, file: RemoteFile) -> Path:
        """Return the place of the lock of a file, which huggingface_hub takes as well."""
        return Path(constants.HF_HUB_CACHE) / ".locks" / self.name / f"{file.digest}.lock"

    def has(self, file: RemoteFile, commit: str) -> bool:
        """Return whether a file is in the cache."""
        return self.blob(file).exists() or (self.snapshot(commit) / file.path).exists()

    def prepare(self, commit: str) -> None:
        """Create the folders."""
        for folder in (self.folder / "blobs", self.snapshot(commit), self.lock(RemoteFile("", 0, "")).parent):
            folder.mkdir(parents=True, exist_ok=True)

    def link(self, file: RemoteFile, commit: str, *, keep: bool = False) -> None:
        """Link a file of a commit to its content; without links on the file system, the content is moved.

        Args:
            file: The file.
            commit: The commit.
            keep: Whether to copy the content instead, because another file has it as well.
        """
        blob, place = self.blob(file), self.snapshot(commit) / file.path
        if os.path.lexists(place) and place.exists():
            return
        place.parent.mkdir(parents=True, exist_ok=True)
        temporary = place.with_name(f".{place.name}.{os.getpid()}")
        try:
            temporary.symlink_to(os.path.relpath(blob, place.parent))
        except OSError:
            if keep:
                shutil.copyfile(blob, temporary)
            else:
                shutil.move(blob, temporary)
        temporary.replace(place)

    def set_revision(self, revision: str | None, commit: str) -> None:
        """Record the commit of a branch or tag; a name that leads out of the folder of these is not recorded."""
        name = revision or constants.DEFAULT_REVISION
        if not is_commit(name) and stays_inside(name):
            _write_atomically(self.folder / "refs" / name, commit)

    def write_tree(self, commit: str, files: Iterable[RemoteFile]) -> None:
        """Record all files of a commit, in the format of huggingface_hub, so that it and diffusers know them offline."""
        content = {
            each.path: {"size": each.size, "blob_id": each.digest}
            | ({"lfs_sha256": each.digest, "lfs_size": each.size} if each.is_large else {})
            for each in sorted(files, key=lambda each: each.path)
        }
        text = json.dumps({"format_version": _TREE_FORMAT, "files": content}, indent=1)
        _write_atomically(self.folder / "trees" / f"{commit}.json", text)

    def tree(self, commit: str) -> list[RemoteFile] | None:
        """Return all files of a commit; None if they are not recorded."""
        try:
            content = read_json(self.folder / "trees" / f"{commit}.json")
            return [
                RemoteFile(path, int(each["size"]), str(each.get("lfs_sha256") or each["blob_id"]))
                for path, each in content["files"].items()
            ]
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None

    @contextlib.contextmanager
    def in_use(self) -> Iterator[None]:
        """Keep the repository from being removed within the context."""
        descriptor = self.hold()
        try:
            yield
        finally:
            if descriptor is not None:
                os.close(descriptor)

    def hold(self) -> int | None:
        """Keep the repository from being removed until the returned descriptor is closed, or the process ends."""
        return self._lock_repository(exclusive=False)

    def claim(self) -> int | None:
        """Return a descriptor for the removal of the repository; None if it is in use.

        Raises:
            OSError: The file of the lock cannot be written.
        """
        return self._lock_repository(exclusive=True)

    def _lock_repository(self, *, exclusive: bool) -> int | None:
        """Lock the repository for all processes; None if another process has a lock that excludes this one."""
        place = Path(constants.HF_HUB_CACHE) / ".locks" / self.name / "octabox.use"
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(place, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError:
            if exclusive:
                raise
            return None  # A cache that is mounted for reading only.
        if fcntl is None:
            return descriptor
        mode = fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH
        try:
            fcntl.flock(descriptor, mode | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        except OSError:
            pass  # A file system without locks.
        return descriptor


def is_commit(text: str) -> bool:
    """Return whether a text is the full hash of a commit."""
    return _COMMIT.fullmatch(text) is not None


def stays_inside(name: str) -> bool:
    """Return whether the name of a file or of a branch, which a Hub states, leads to a place inside its folder."""
    path = PureWindowsPath(name)  # Its rules include those of other systems.
    return bool(path.parts) and not path.anchor and ".." not in path.parts and "\0" not in name


def repository_of(path: Path) -> CachedRepo | None:
    """Return the repository in the cache that a file or folder belongs to, also by a link; None for any other path."""
    try:
        relative = Path(os.path.realpath(path)).relative_to(os.path.realpath(constants.HF_HUB_CACHE))
    except ValueError:
        return None
    kind, _, rest = relative.parts[0].partition("--") if relative.parts else ("", "", "")
    return CachedRepo(rest.replace("--", "/")) if kind == "models" else None


def _write_atomically(place: Path, text: str) -> None:
    """Write a text file that other processes read completely or not at all."""
    place.parent.mkdir(parents=True, exist_ok=True)
    write_file(place, text.encode())
