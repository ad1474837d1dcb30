"""Read the names and shapes of a .gguf file's tensors."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO

from octabox.errors import IncompatibleWeightsError

_DAMAGED = "The file is damaged or was cut short; fetch it again."

#: Bytes of each kind of metadata value of a fixed size, by the format's number for it.
_SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
_STRING, _ARRAY = 8, 9

#: Most dimensions that a tensor may have; most lists within lists that metadata may have.
_DEEPEST = 8

#: Versions of the format whose lengths are 8 bytes each.
_VERSIONS = (2, 3)


class _BrokenError(Exception):
    """The file does not say what the format asks for."""


class _Stream:
    """A file that is read number by number and never past its end."""

    def __init__(self, stream: BinaryIO, size: int) -> None:
        self._stream, self._size = stream, size

    @property
    def left(self) -> int:
        """Bytes that are still to come."""
        return self._size - self._stream.tell()

    def number(self, code: str) -> int:
        """Return the next whole number, of this code of `struct`."""
        width = struct.calcsize(f"<{code}")
        content = self._stream.read(width)
        if len(content) < width:
            raise _BrokenError
        return int(struct.unpack(f"<{code}", content)[0])

    def count(self) -> int:
        """Return the next number of things, each of which takes a byte at least."""
        count = self.number("Q")
        if count > self.left:
            raise _BrokenError
        return count

    def text(self) -> str:
        """Return the next text."""
        return self._stream.read(self.count()).decode()

    def skip(self, count: int) -> None:
        """Go this many bytes on."""
        if count > self.left:
            raise _BrokenError
        self._stream.seek(count, 1)


def read_gguf(file: Path) -> dict[str, tuple[int, ...]]:
    """Return the shape of every tensor, the outermost dimension first, as torch has it.

    Raises:
        IncompatibleWeightsError: The file is broken, cut short, or of a version that is too old.
    """
    with file.open("rb") as stream:
        if stream.read(4) != b"GGUF":
            raise IncompatibleWeightsError(f"{file} is no GGUF file.", hint=_DAMAGED)
        try:
            return _read(_Stream(stream, file.stat().st_size))
        except (_BrokenError, UnicodeDecodeError) as error:
            message = f"{file} is of a version of GGUF that is not known, is damaged or was cut short."
            raise IncompatibleWeightsError(message, hint=_DAMAGED) from error


def _read(stream: _Stream) -> dict[str, tuple[int, ...]]:
    if stream.number("I") not in _VERSIONS:
        raise _BrokenError
    tensors, pairs = stream.count(), stream.count()
    for _ in range(pairs):
        stream.text()
        _skip_value(stream, stream.number("I"), 0)
    shapes: dict[str, tuple[int, ...]] = {}
    furthest = 0
    for _ in range(tensors):
        name = stream.text()
        dimensions = stream.number("I")
        if dimensions > _DEEPEST:
            raise _BrokenError
        shapes[name] = tuple(stream.number("Q") for _ in range(dimensions))[::-1]
        stream.number("I")
        furthest = max(furthest, stream.number("Q"))
    if tensors and furthest >= stream.left:
        raise _BrokenError
    return shapes


def _skip_value(stream: _Stream, kind: int, depth: int) -> None:
    """Pass over a value of the metadata."""
    if kind in _SIZES:
        stream.skip(_SIZES[kind])
    elif kind == _STRING:
        stream.skip(stream.count())
    elif kind == _ARRAY and depth < _DEEPEST:
        inner, count = stream.number("I"), stream.count()
        if inner in _SIZES:
            stream.skip(_SIZES[inner] * count)
            return
        for _ in range(count):
            _skip_value(stream, inner, depth + 1)
    else:
        raise _BrokenError
