"""Whether other servers of this machine run: each holds a lock on a file in the data folder, which ends with its process."""

from __future__ import annotations

import contextlib
import os
import platform
import secrets
from collections.abc import Iterable
from pathlib import Path

from octabox.service.jobs.store.leases import ServerEntry

try:
    import fcntl
except ImportError:  # pragma: no cover (Windows)
    fcntl = None  # type: ignore[assignment]

#: Names in the folder: the locks of the servers, and the id of the folder.
LOCKS, FOLDER_ID = "servers", "folder-id"


class Presence:
    """The lock of this server, which shows those of the same machine that it runs.

    Args:
        folder: The folder that the servers of a machine share.
        files: Id of where the files of all servers are; None is that folder.
    """

    def __init__(self, folder: Path, files: str | None = None) -> None:
        self.host, self.folder_id = platform.node() or "host", _folder_id(folder)
        if files is not None:
            # The lock of a server of the same machine is seen only by those with the same folder.
            self.host, self.folder_id = f"{self.host}/{self.folder_id}", files
        self._folder = folder / LOCKS
        self._folder.mkdir(mode=0o700, exist_ok=True)
        self._descriptor: int | None = None
        self._server = ""

    def enter(self, server: str, until: float) -> ServerEntry:
        """Lock the file of this server, and return its entry.

        Args:
            server: Its id.
            until: When its lease ends.
        """
        self.leave()
        self._descriptor, self._server = os.open(self._folder / server, os.O_CREAT | os.O_RDWR, 0o600), server
        if fcntl is not None:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return ServerEntry(server, self.host, self.folder_id, until)

    def leave(self) -> None:
        """Delete the file of this server."""
        if self._descriptor is not None:
            (self._folder / self._server).unlink(missing_ok=True)
            os.close(self._descriptor)
            self._descriptor = None

    def abandon(self) -> None:
        """Unlock the file and leave it there, as the end of the process does."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def ended(self, entries: Iterable[ServerEntry]) -> tuple[list[str], list[str]]:
        """Return the ids of the servers of this machine that have ended, whose files are deleted, and of those that run.

        Those of other machines are not known; nor are any without locks of files.
        """
        ours = [each.id for each in entries if (each.host, each.folder) == (self.host, self.folder_id)]
        if fcntl is None:
            return [], []
        ended = [each for each in ours if self._has_ended(self._folder / each)]
        return ended, [each for each in ours if each not in ended]

    def _has_ended(self, path: Path) -> bool:
        """Return whether no process holds the lock of a file."""
        try:
            descriptor = os.open(path, os.O_RDWR)
        except FileNotFoundError:
            return True
        except OSError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink(missing_ok=True)
        except OSError:
            return False
        finally:
            os.close(descriptor)
        return True


def _folder_id(folder: Path) -> str:
    """Return the id of a folder, by which servers know whether they share it."""
    path = folder / FOLDER_ID
    if not path.exists():
        complete = folder / f"{FOLDER_ID}.{secrets.token_hex(8)}"
        complete.write_text(secrets.token_hex(16), encoding="ascii")
        with contextlib.suppress(FileExistsError):  # Another server starts too.
            os.link(complete, path)
        complete.unlink()
    return path.read_text(encoding="ascii")
