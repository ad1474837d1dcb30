"""Files of background jobs: media of their requests, and their results."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Collection, Iterable
from pathlib import Path

from octabox.service.jobs.errors import JobStoreError

#: Random bytes in a name, which is all that a client needs to fetch a result.
NAME_BYTES = 24

_NAME = re.compile(r"[A-Za-z0-9_-]{16,64}(\.[A-Za-z0-9.+-]{1,64})?")


def is_file_name(name: str) -> bool:
    """Return whether a text has the form of the names of files."""
    return bool(_NAME.fullmatch(name))


class JobFiles:
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
        name = secrets.token_urlsafe(NAME_BYTES) + suffix
        path = self._folder / name
        try:
            with path.open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            self._sync_folder()
        except OSError as error:
            path.unlink(missing_ok=True)
            message = f"A file of the job cannot be stored: {error.strerror}."
            raise JobStoreError(message, hint="Free some disk space, or set `data_dir`.") from error
        return name

    def read(self, name: str) -> bytes:
        """Return the content of a file.

        Raises:
            JobStoreError: It cannot be read.
        """
        try:
            return (self._folder / name).read_bytes()
        except OSError as error:
            message = f"A file of the job cannot be read: {error.strerror}."
            raise JobStoreError(message, hint="Send the request again.") from error

    def find(self, name: str) -> Path | None:
        """Return the path of a file; None if there is none with this name."""
        path = self._folder / name
        return path if is_file_name(name) and path.is_file() else None

    def size(self, names: Iterable[str]) -> int:
        """Return how many bytes files have."""
        return sum((self._folder / name).stat().st_size for name in names)

    def drop(self, names: Iterable[str]) -> None:
        """Delete files, if they exist."""
        for name in names:
            (self._folder / name).unlink(missing_ok=True)

    def sweep(self, known: Collection[str]) -> int:
        """Delete all files but the known ones, and return how many there were."""
        unknown = [path for path in self._folder.iterdir() if path.name not in known]
        for path in unknown:
            path.unlink(missing_ok=True)
        return len(unknown)

    def _sync_folder(self) -> None:
        """Write the entry of a new file to disk."""
        if hasattr(os, "O_DIRECTORY"):  # Windows cannot open a folder.
            descriptor = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
