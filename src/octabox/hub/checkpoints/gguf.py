"""Read tensor names and shapes from the header of a .gguf file.

Why not with the library gguf: docs/adr/0018-headers-of-weight-files.md.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO

from octabox.errors import IncompatibleWeightsError
from octabox.security.filesystem import open_file

_DAMAGED = "The file is damaged or truncated; download it again."

#: Sizes of metadata values in bytes, by the type number of the format.
_SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
_STRING, _ARRAY = 8, 9

#: Maximum number of dimensions of a tensor, and maximum depth of nested arrays in metadata.
_MAX_DEPTH = 8

#: Maximum length of a name in bytes, and maximum number of values that are read, such as the strings of a vocabulary.
_MAX_NAME, _MAX_VALUES = 2**16, 4_000_000

#: Supported versions of the format, those with 64-bit lengths.
_VERSIONS = (2, 3)


class _FormatError(Exception):
    """The file violates the format."""


class _Stream:
    """Reads values from a file, never past its end, and not more than a limit."""

    def __init__(self, stream: BinaryIO, size: int) -> None:
        self._stream, self._size, self._values = stream, size, 0

    @property
    def left(self) -> int:
        """Number of remaining bytes."""
        return self._size - self._stream.tell()

    def number(self, code: str) -> int:
        """Return the next integer, with a format code of `struct`."""
        width = struct.calcsize(f"<{code}")
        content = self._stream.read(width)
        self._values += 1
        if len(content) < width or self._values > _MAX_VALUES:
            raise _FormatError
        return int(struct.unpack(f"<{code}", content)[0])

    def count(self) -> int:
        """Return the next count of items, each of which has at least one byte."""
        count = self.number("Q")
        if count > self.left:
            raise _FormatError
        return count

    def text(self) -> str:
        """Return the next string."""
        length = self.count()
        if length > _MAX_NAME:
            raise _FormatError
        return self._stream.read(length).decode()

    def skip(self, count: int) -> None:
        """Skip this many bytes."""
        if count > self.left:
            raise _FormatError
        self._stream.seek(count, 1)


def read_gguf(file: Path) -> dict[str, tuple[int, ...]]:
    """Return the shapes of all tensors by name, with the outermost dimension first, as in torch.

    Raises:
        IncompatibleWeightsError: The file is damaged or truncated, or its version is not supported.
    """
    with open_file(file) as stream:
        if stream.read(4) != b"GGUF":
            raise IncompatibleWeightsError(f"{file} is not a GGUF file.", hint=_DAMAGED)
        try:
            return _read(_Stream(stream, file.stat().st_size))
        except (_FormatError, UnicodeDecodeError) as error:
            message = f"{file} is damaged or truncated, or its GGUF version is not supported."
            raise IncompatibleWeightsError(message, hint=_DAMAGED) from error


def _read(stream: _Stream) -> dict[str, tuple[int, ...]]:
    if stream.number("I") not in _VERSIONS:
        raise _FormatError
    tensors, pairs = stream.count(), stream.count()
    for _ in range(pairs):
        stream.text()
        _skip_value(stream, stream.number("I"), 0)
    shapes: dict[str, tuple[int, ...]] = {}
    last_offset = 0
    for _ in range(tensors):
        name = stream.text()
        dimensions = stream.number("I")
        if dimensions > _MAX_DEPTH:
            raise _FormatError
        shapes[name] = tuple(stream.number("Q") for _ in range(dimensions))[::-1]
        stream.number("I")
        last_offset = max(last_offset, stream.number("Q"))
    if tensors and last_offset >= stream.left:
        raise _FormatError
    return shapes


def _skip_value(stream: _Stream, type_number: int, depth: int) -> None:
    """Skip a metadata value."""
    if type_number in _SIZES:
        stream.skip(_SIZES[type_number])
    elif type_number == _STRING:
        stream.skip(stream.count())
    elif type_number == _ARRAY and depth < _MAX_DEPTH:
        inner, count = stream.number("I"), stream.count()
        if inner in _SIZES:
            stream.skip(_SIZES[inner] * count)
            return
        for _ in range(count):
            _skip_value(stream, inner, depth + 1)
    else:
        raise _FormatError
