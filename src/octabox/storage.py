"""Files that several servers and nodes share: in a folder that all of them see, or in an object store such as S3."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import secrets
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from octabox.errors import CapacityError, ConfigError, MissingDependencyError

#: Random bytes in a name, which is all that a client needs to fetch a result.
NAME_BYTES = 24

_NAME = re.compile(r"[A-Za-z0-9_-]{16,64}(\.[A-Za-z0-9.+-]{1,64})?")

#: What may be secret in the URLs of a text: what is before the host, and the query.
_USER, _QUERY = re.compile(r"(?<=://)[^/\s]*@"), re.compile(r"(://[^\s?]*)\?[^\s'\"]+")

_HINT = "Set a folder that all servers and nodes have at the same path, or a URL such as s3://bucket/octabox."


def random_name(suffix: str = "") -> str:
    """Return a new name of a file."""
    return secrets.token_urlsafe(NAME_BYTES) + suffix


def is_file_name(name: str) -> bool:
    """Return whether a text has the form of the names of files."""
    return bool(_NAME.fullmatch(name))


def hide_secrets(text: str) -> str:
    """Return a text without the users, passwords and queries of the URLs in it."""
    return _QUERY.sub(r"\1?***", _USER.sub("***@", text))


@dataclass(frozen=True)
class StoredFile:
    """A file of a store.

    Args:
        name: Its name.
        size: Its bytes.
        modified: When it was written, in seconds since the epoch.
    """

    name: str
    size: int
    modified: float


class FileStore:
    """Files in a folder of a file system of fsspec. Each is written once, completely, and never changed.

    Args:
        url: A folder, or a URL such as ``s3://bucket/octabox``.
        folder: Part of the store.

    Raises:
        ConfigError: The URL is not valid.
        MissingDependencyError: The package of its file system is not installed.
    """

    def __init__(self, url: str, folder: str = "") -> None:
        self.url = url
        self._fs, root = _open(url)
        self._root = f"{root.rstrip('/')}/{folder}".rstrip("/")

    @property
    def shown(self) -> str:
        """The URL for messages, which clients may read: without user, password and query."""
        return hide_secrets(self.url)

    def within(self, folder: str) -> FileStore:
        """Return the files of a folder of this store."""
        return FileStore(self.url, folder)

    @property
    def id(self) -> str:
        """What two servers have in common that use the same store."""
        return hashlib.sha256(str(self._fs.unstrip_protocol(self._root)).encode()).hexdigest()[:32]

    def write(self, name: str, content: bytes) -> None:
        """Write a new file; it is there completely, or not at all.

        Raises:
            CapacityError: It cannot be written.
        """
        try:
            if self._is_local:
                _write_local(Path(self._path(name)), content)
            else:
                self._fs.makedirs(self._root, exist_ok=True)
                self._fs.pipe_file(self._path(name), content)
        except Exception as error:
            raise CapacityError(
                f"A file cannot be stored in `file_store` '{self.shown}': {_describe(error)}.", hint=_HINT
            ) from error

    def read(self, name: str) -> bytes:
        """Return the content of a file.

        Raises:
            CapacityError: It cannot be read.
        """
        try:
            return bytes(self._fs.cat_file(self._path(name)))
        except Exception as error:
            raise self._unreadable(error) from error

    def find(self, name: str) -> StoredFile | None:
        """Return a file; None if there is none with this name.

        Raises:
            CapacityError: The store does not respond.
        """
        if not is_file_name(name):
            return None
        try:
            return _stored(name, self._fs.info(self._path(name)))
        except FileNotFoundError:
            return None
        except Exception as error:
            raise self._unreadable(error) from error

    def drop(self, names: Collection[str]) -> None:
        """Delete files, if they exist."""
        for name in names:
            with contextlib.suppress(Exception):
                self._fs.rm_file(self._path(name))

    def sweep(self, known: Collection[str] = (), age: float = 0.0) -> int:
        """Delete all files but the known ones that were written so many seconds ago, and return how many there were."""
        before = time.time() - age
        names = [file.name for file in self.files() if file.name not in known and file.modified <= before]
        self.drop(names)
        return len(names)

    def files(self) -> Iterator[StoredFile]:
        """Return all files; none while the store does not respond."""
        try:
            entries = self._fs.ls(self._root, detail=True, refresh=True)
        except Exception:  # noqa: BLE001 (each file system has its own errors)
            return
        for entry in entries:
            if entry.get("type") == "file":
                yield _stored(str(entry["name"]).rsplit("/", 1)[-1], entry)

    def check(self) -> None:
        """Check that files can be written and read.

        Raises:
            CapacityError: They cannot.
        """
        name = random_name()
        self.write(name, b"octabox")
        try:
            self.read(name)
        finally:
            self.drop([name])

    def _unreadable(self, error: Exception) -> CapacityError:
        """Return the error of a file that cannot be read."""
        return CapacityError(f"A file of `file_store` '{self.shown}' cannot be read: {_describe(error)}.", hint=_HINT)

    @property
    def _is_local(self) -> bool:
        protocol = self._fs.protocol
        return "file" in ((protocol,) if isinstance(protocol, str) else protocol)

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"


def open_store(url: str | None) -> FileStore | None:
    """Return the store of a URL; None if there is none.

    Raises:
        ConfigError: The URL is not valid.
        MissingDependencyError: The package of its file system is not installed.
    """
    return FileStore(url) if url else None


def _open(url: str) -> tuple[Any, str]:
    """Return the file system of a URL, and the path there."""
    from fsspec.core import url_to_fs  # noqa: PLC0415 (it takes time, and most servers have no such store)

    try:
        # What other servers write must be found immediately.
        fs, root = url_to_fs(url if "://" in url else str(Path(url).absolute()), use_listings_cache=False)
    except ImportError as error:
        raise MissingDependencyError(
            f"`file_store` '{hide_secrets(url)}' needs a package that is not installed: {error}.",
            hint="Install it on all servers and nodes, such as pip install s3fs.",
        ) from error
    except (ValueError, TypeError, OSError) as error:
        raise ConfigError(
            f"`file_store` '{hide_secrets(url)}' cannot be used: {hide_secrets(str(error))}.",
            hint=_HINT,
            parameter="file_store",
        ) from error
    return fs, str(root)


def _write_local(path: Path, content: bytes) -> None:
    """Write a file, which is on disk when this returns, and of which nobody finds a part."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{secrets.token_hex(4)}.part")
    try:
        with part.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)


def _stored(name: str, entry: dict[str, Any]) -> StoredFile:
    """Return a file from what its file system states about it; each has another name for the time."""
    times = (entry.get(key) for key in ("mtime", "LastModified", "last_modified", "updated", "created"))
    found = next((each for each in times if each is not None), None)
    if isinstance(found, str):
        found = datetime.fromisoformat(found)
    if isinstance(found, datetime):
        found = found.replace(tzinfo=found.tzinfo or timezone.utc).timestamp()
    modified = time.time() if found is None else float(found)
    return StoredFile(name, int(entry.get("size") or 0), modified)


def _describe(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(hide_secrets(str(error)).split())[:200]}"
