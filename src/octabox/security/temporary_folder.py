"""Temporary folders, and the removal of those that killed processes have left."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import tempfile
from pathlib import Path

try:
    import fcntl
except ImportError:  # pragma: no cover (Windows)
    fcntl = None  # type: ignore[assignment]

logger = logging.getLogger("octabox.security")

#: Prefix of the folders.
PREFIX = "octabox-"

#: File that the process of a folder keeps locked; the system unlocks it when the process ends, however it ends.
LOCK = ".lock"

#: Maximum number of folders that the log names.
MAX_NAMES = 3


class TemporaryFolder:
    """A new folder for temporary files, which only this user can read; its process keeps it locked.

    As a context manager it returns its path, and is deleted at the end.
    """

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix=PREFIX))
        # The lock file gets its name when it is locked, so that no other server finds it unlocked.
        unnamed = self.path / f"{LOCK}.new"
        self._descriptor = os.open(unnamed, os.O_CREAT | os.O_RDWR, 0o600)
        if fcntl is not None:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        unnamed.rename(self.path / LOCK)

    def __enter__(self) -> Path:
        return self.path

    def __exit__(self, *_: object) -> None:
        self.remove()

    def remove(self) -> None:
        """Delete the folder and its files."""
        shutil.rmtree(self.path, ignore_errors=True)
        with contextlib.suppress(OSError):
            os.close(self._descriptor)


def remove_abandoned(folder: Path | None = None) -> None:
    """Delete the folders whose processes have ended; those of other users and of running servers are kept.

    Args:
        folder: Where the folders are; by default the system's folder for temporary files.
    """
    if fcntl is None:
        return
    abandoned = list(filter(_is_abandoned, (folder or Path(tempfile.gettempdir())).glob(f"{PREFIX}*")))
    for each in abandoned:
        shutil.rmtree(each, ignore_errors=True)
    if abandoned:
        names = ", ".join(str(each) for each in abandoned[:MAX_NAMES]) + (", ..." if len(abandoned) > MAX_NAMES else "")
        logger.info("Files of %d processes that have ended are deleted: %s", len(abandoned), names)


def _is_abandoned(folder: Path) -> bool:
    """Return whether a folder is one of a process that has ended."""
    try:
        if folder.is_symlink() or folder.stat().st_uid != os.getuid():
            return False
        descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True
