"""The files that requests name: read and written only inside the allowed folders, and written whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

from octabox.errors import CapacityError, ForbiddenPathError, InvalidParameterError, MediaError, MissingParameterError

#: Rights of a new file, less what the process's mask takes away: LocalAI's core may run as another user.
_RIGHTS = 0o644


class AllowedPaths:
    """Folders that requests may name files in.

    Args:
        writable: Folders that files may be read from and written into.
        readable: Folders that files may be read from.
        most_bytes: Largest file that is read.
    """

    def __init__(self, writable: Iterable[Path], readable: Iterable[Path] = (), most_bytes: int = 50 * 1024**2) -> None:
        self._writable = _folders(writable)
        self._readable = (*self._writable, *_folders(readable))
        self._most_bytes = most_bytes

    def with_readable(self, folder: Path) -> AllowedPaths:
        """Return these folders and one more to read from."""
        return AllowedPaths(self._writable, (*self._readable, folder), self._most_bytes)

    def read(self, path: str, parameter: str) -> bytes:
        """Return the content of a file.

        Raises:
            ForbiddenPathError: It lies elsewhere, whatever links lead to it.
            MediaError: It is not there, is no plain file, or is too large.
        """
        place = _real(path, parameter)
        if not any(place.is_relative_to(root) for root in self._readable):
            raise _forbidden(path, parameter)
        try:
            if not place.is_file():
                raise MediaError(f"'{parameter}': there is no file {path}.", parameter=parameter)
            with place.open("rb") as file:
                content = file.read(self._most_bytes + 1)
        except OSError as error:
            raise MediaError(f"'{parameter}': {path} cannot be read: {error.strerror}.", parameter=parameter) from error
        if len(content) > self._most_bytes:
            message = f"'{parameter}': {path} is larger than {self._most_bytes} bytes."
            raise MediaError(message, hint="Send a smaller one, or raise `max_upload_bytes`.", parameter=parameter)
        return content

    def target(self, path: str, parameter: str = "dst") -> Path:
        """Return where a file is to be written.

        Raises:
            MissingParameterError: No path was given.
            ForbiddenPathError: It lies elsewhere, whatever links lead to it.
            InvalidParameterError: Its folder is not there, or it is a folder itself.
        """
        if not path:
            raise MissingParameterError(
                f"'{parameter}' is missing.", hint="Say where the file goes.", parameter=parameter
            )
        _real(path, parameter)
        # A link in the file's own place is replaced, not followed.
        place = _real(os.path.dirname(path) or ".", parameter) / os.path.basename(path)  # noqa: PTH119, PTH120 (text)
        if place.name in ("", ".", "..") or not any(place.is_relative_to(root) for root in self._writable):
            raise _forbidden(path, parameter)
        taken = os.path.isdir(place)  # noqa: PTH112 (pathlib raises on odd paths)
        if taken or not place.parent.is_dir():
            what = "is a folder" if taken else "lies in a folder that is not there"
            raise InvalidParameterError(f"'{parameter}': {path} {what}.", parameter=parameter)
        return place


def write(place: Path, content: bytes) -> None:
    """Write a file in one step: whoever looks sees the whole of it, or what was there before.

    Raises:
        CapacityError: The disk is full, or the folder cannot be written into.
    """
    name = ""
    try:
        descriptor, name = tempfile.mkstemp(prefix=".octabox-", dir=place.parent)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        Path(name).chmod(place.stat().st_mode & 0o777 if place.is_file() else _RIGHTS)
        Path(name).replace(place)
    except OSError as error:
        if name:
            Path(name).unlink(missing_ok=True)
        raise CapacityError(f"'dst': {place} cannot be written: {error.strerror}.", parameter="dst") from error


def _folders(paths: Iterable[Path]) -> tuple[Path, ...]:
    """Return folders without links in their paths; the root of all files would allow everything, and is left out."""
    real = (Path(os.path.realpath(path)) for path in paths)
    return tuple(dict.fromkeys(path for path in real if path != Path(path.anchor)))


def _real(path: str, parameter: str) -> Path:
    """Return a path without links."""
    try:
        return Path(os.path.realpath(path))
    except (OSError, ValueError) as error:
        raise InvalidParameterError(f"'{parameter}' is no path.", parameter=parameter) from error


def _forbidden(path: str, parameter: str) -> ForbiddenPathError:
    hint = "Allowed are the folders of models, of generated content and of temporary files; --allow-path adds one."
    return ForbiddenPathError(
        f"'{parameter}': {path[:200]} lies outside the allowed folders.", hint=hint, parameter=parameter
    )
