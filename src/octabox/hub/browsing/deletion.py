"""Delete files of the cache and of folders, and state which one cannot be deleted."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator

from huggingface_hub import DeleteCacheStrategy

from octabox.errors import ForbiddenPathError, InvalidParameterError


@contextlib.contextmanager
def deleting(name: str) -> Iterator[None]:
    """Turn an error of the file system within the context into one with the path.

    Args:
        name: The model that is removed.
    """
    try:
        yield
    except OSError as error:
        message = f"{name} cannot be removed: {error.filename}: {error.strerror or error}."
        hint = "Check the permissions of the folder and of its files, and remove the model again."
        raise ForbiddenPathError(message, hint=hint, model=name) from error


def carry_out(strategy: DeleteCacheStrategy) -> None:
    """Delete what huggingface_hub has planned, which only logs what it cannot delete.

    Raises:
        OSError: Something is still there.
    """
    strategy.execute()
    planned = (strategy.repos, strategy.snapshots, strategy.files, strategy.refs, strategy.blobs)
    for path in (path for paths in planned for path in paths):
        if os.path.lexists(path):
            raise OSError(errno.EACCES, os.strerror(errno.EACCES), str(path))


def in_use_error(name: str) -> InvalidParameterError:
    """Return the error for the removal of what a process has loaded or downloads."""
    message = f"{name} is in use: it is loaded, or being downloaded."
    hint = "Unload the model that uses it: `octabox ps` lists those in memory, and `octabox stop MODEL` unloads one."
    return InvalidParameterError(message, hint=hint, model=name)
