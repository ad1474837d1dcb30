"""Files in requests: read and written only inside the allowed folders, and written atomically."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from octabox.errors import CapacityError, ForbiddenPathError, InvalidParameterError, MediaError, MissingParameterError
from octabox.security.filesystem import write_file


class AllowedPaths:
    """Folders that requests may use.

    Args:
        writable: Folders to read from and write to.
        readable: Folders to read from.
        max_bytes: Maximum size of a file to read.
    """

    def __init__(self, writable: Iterable[Path], readable: Iterable[Path] = (), max_bytes: int = 50 * 1024**2) -> None:
        self._writable = _resolve_folders(writable)
        self._readable = (*self._writable, *_resolve_folders(readable))
        self._max_bytes = max_bytes

    def with_readable(self, folder: Path) -> AllowedPaths:
        """Return these folders and another to read from."""
        return AllowedPaths(self._writable, (*self._readable, folder), self._max_bytes)

    def read(self, path: str, parameter: str) -> bytes:
        """Return the content of a file.

        Raises:
            ForbiddenPathError: The file is outside the folders; links are resolved.
            MediaError: The file does not exist, is not a regular file, or is too large.
        """
        real = _resolve(path, parameter)
        if not any(real.is_relative_to(root) for root in self._readable):
            raise _forbidden(path, parameter)
        try:
            if not real.is_file():
                raise MediaError(f"'{parameter}': there is no file {path}.", parameter=parameter)
            with real.open("rb") as file:
                content = file.read(self._max_bytes + 1)
        except OSError as error:
            raise MediaError(f"'{parameter}': {path} cannot be read: {error.strerror}.", parameter=parameter) from error
        if len(content) > self._max_bytes:
            message = f"'{parameter}': {path} is larger than {self._max_bytes} bytes."
            raise MediaError(message, hint="Send a smaller file, or raise `max_upload_bytes`.", parameter=parameter)
        return content

    def resolve_target(self, path: str, parameter: str = "dst") -> Path:
        """Return the path of a file to write.

        Raises:
            MissingParameterError: The path is empty.
            ForbiddenPathError: The path is outside the folders; links are resolved.
            InvalidParameterError: The parent folder does not exist, or the path is a folder.
        """
        if not path:
            raise MissingParameterError(
                f"'{parameter}' is missing.", hint="Set the path of the file.", parameter=parameter
            )
        _resolve(path, parameter)
        # If the file is a link, the link is replaced, not followed.
        target = _resolve(os.path.dirname(path) or ".", parameter) / os.path.basename(path)  # noqa: PTH119, PTH120 (text)
        if target.name in ("", ".", "..") or not any(target.is_relative_to(root) for root in self._writable):
            raise _forbidden(path, parameter)
        is_folder = os.path.isdir(target)  # noqa: PTH112 (pathlib raises on odd paths)
        if is_folder or not target.parent.is_dir():
            what = "is a folder" if is_folder else "is in a folder that does not exist"
            raise InvalidParameterError(f"'{parameter}': {path} {what}.", parameter=parameter)
        return target


def write(path: Path, content: bytes) -> None:
    """Write a file atomically.

    Raises:
        CapacityError: The file cannot be written.
    """
    try:
        write_file(path, content)
    except OSError as error:
        raise CapacityError(f"'dst': {path} cannot be written: {error.strerror}.", parameter="dst") from error


def _resolve_folders(paths: Iterable[Path]) -> tuple[Path, ...]:
    """Return folders with links resolved, without the root folder, which would allow every path."""
    real = (Path(os.path.realpath(path)) for path in paths)
    return tuple(dict.fromkeys(path for path in real if path != Path(path.anchor)))


def _resolve(path: str, parameter: str) -> Path:
    """Return a path with links resolved."""
    try:
        return Path(os.path.realpath(path))
    except (OSError, ValueError) as error:
        raise InvalidParameterError(f"'{parameter}' is not a path.", parameter=parameter) from error


def _forbidden(path: str, parameter: str) -> ForbiddenPathError:
    """Return the error for a path outside the folders."""
    hint = "Allowed are the folders of models, of generated content and of temporary files; --allow-path adds one."
    return ForbiddenPathError(
        f"'{parameter}': {path[:200]} is outside the allowed folders.", hint=hint, parameter=parameter
    )
