"""Files of background jobs: media of their requests, and their results."""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Collection
from pathlib import Path
from typing import Protocol

from octabox.errors import CapacityError
from octabox.service.jobs.errors import JobLostError, JobStoreError
from octabox.storage import FileStore, StoredFile, is_file_name, random_name

logger = logging.getLogger("octabox.jobs")


class JobFiles(Protocol):
    """Where the files of jobs are."""

    def write(self, content: bytes, suffix: str = "") -> str:
        """Write a file, which is stored when this returns, and return its name, which is random."""

    def read(self, name: str) -> bytes:
        """Return the content of a file."""

    def find(self, name: str) -> StoredFile | None:
        """Return a file; None if there is none with this name.

        Raises:
            CapacityError: The store of the files does not respond.
        """

    def path(self, name: str) -> Path | None:
        """Return the path of a file on this machine; None if it is read from elsewhere."""

    def drop(self, names: Collection[str]) -> None:
        """Delete files, if they exist."""

    def sweep(self, known: Collection[str], age: float) -> int:
        """Delete all files but the known ones that were written so many seconds ago, and return how many there were."""


class FolderFiles:
    """Files in a folder, which are on disk when `write` returns.

    Args:
        folder: The folder.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def write(self, content: bytes, suffix: str = "") -> str:
        """Write a file and return its name, which is random.

        Raises:
            JobStoreError: It cannot be written.
        """
        name = random_name(suffix)
        path = self._folder / name
        try:
            with path.open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            self._sync_folder()
        except OSError as error:
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
            message = f"A file of the job cannot be stored: {error.strerror}."
            raise JobStoreError(message, hint="Free some disk space, or set `data_dir`.") from error
        return name

    def read(self, name: str) -> bytes:
        """Return the content of a file.

        Raises:
            JobLostError: It is missing.
            JobStoreError: It cannot be read.
        """
        try:
            return (self._folder / name).read_bytes()
        except OSError as error:
            message = f"A file of the job cannot be read: {error.strerror}."
            raise _read_error(error)(message, hint="Send the request again.") from error

    def find(self, name: str) -> StoredFile | None:
        """Return a file; None if there is none with this name."""
        path = self._folder / name
        if not is_file_name(name) or not path.is_file():
            return None
        state = path.stat()
        return StoredFile(name, state.st_size, state.st_mtime)

    def path(self, name: str) -> Path:
        """Return the path of a file."""
        return self._folder / name

    def drop(self, names: Collection[str]) -> None:
        """Delete files, if they exist."""
        for name in names:
            try:
                (self._folder / name).unlink(missing_ok=True)
            except OSError as error:  # The others are deleted, and this one when the server starts again.
                logger.warning("A file of a job is not deleted: %s", error)

    def sweep(self, known: Collection[str], age: float) -> int:
        """Delete all files but the known ones that were written so many seconds ago, and return how many there were."""
        before = time.time() - age
        found = [path.name for path in self._folder.iterdir() if path.name not in known]
        unknown = [name for name in found if (file := self.find(name)) is None or file.modified <= before]
        self.drop(unknown)
        return len(unknown)

    def _sync_folder(self) -> None:
        """Write the entry of a new file to disk."""
        if hasattr(os, "O_DIRECTORY"):  # Windows cannot open a folder.
            descriptor = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


def _read_error(cause: BaseException | None) -> type[JobStoreError]:
    """Return the class of the error for a file that cannot be read: whether it is missing, or its store does not respond."""
    return JobLostError if isinstance(cause, FileNotFoundError) else JobStoreError


class SharedFiles:
    """Files in the store that all servers share; each server serves them from there.

    Args:
        store: The store.
    """

    def __init__(self, store: FileStore) -> None:
        self._store = store

    def write(self, content: bytes, suffix: str = "") -> str:
        """Write a file and return its name, which is random.

        Raises:
            JobStoreError: It cannot be written.
        """
        name = random_name(suffix)
        try:
            self._store.write(name, content)
        except CapacityError as error:
            raise JobStoreError(error.message, hint=error.hint) from error
        return name

    def read(self, name: str) -> bytes:
        """Return the content of a file.

        Raises:
            JobLostError: It is missing.
            JobStoreError: It cannot be read.
        """
        try:
            return self._store.read(name)
        except CapacityError as error:
            raise _read_error(error.__cause__)(error.message, hint="Send the request again.") from error

    def find(self, name: str) -> StoredFile | None:
        """Return a file; None if there is none with this name.

        Raises:
            CapacityError: The store does not respond.
        """
        return self._store.find(name)

    def path(self, name: str) -> None:
        """Return None, since no file is on this machine."""
        del name

    def drop(self, names: Collection[str]) -> None:
        """Delete files, if they exist."""
        self._store.drop(names)

    def sweep(self, known: Collection[str], age: float) -> int:
        """Delete all files but the known ones that were written so many seconds ago, and return how many there were."""
        return self._store.sweep(known, age)
