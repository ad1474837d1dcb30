"""Limits of a pickle, checked before it is unpickled: a few bytes may announce values of gigabytes."""

from __future__ import annotations

import pickletools
from typing import IO, BinaryIO, cast

from octabox.hub.checkpoints.archives import FileLimitError

#: Largest size of the pickle of a file of weights in bytes, without the weights.
MAX_BYTES = 32 * 2**20

#: Largest number of opcodes; a tensor takes about 40.
MAX_OPCODES = 1_000_000

#: Largest size of an opcode or a number in bytes.
_NUMBER_BYTES = 8

#: Opcodes with an index of the memo, which the unpickler allocates up to that index.
_PUTS = frozenset({"PUT", "BINPUT", "LONG_BINPUT"})

#: Opcodes of values that no file of weights has, and that are allocated before they are read.
_REFUSED = frozenset({"BYTEARRAY8", "NEXT_BUFFER"})


class LimitedStream:
    """A stream that refuses to read more bytes than it has, so that nothing is allocated for them.

    Args:
        stream: The stream.
        size: Number of its bytes.
    """

    def __init__(self, stream: BinaryIO, size: int) -> None:
        self._stream, self._size = stream, size

    def read(self, count: int) -> bytes:
        """Return this many bytes, or fewer at the end if only a number is read."""
        if not 0 <= count <= max(_NUMBER_BYTES, min(self._size - self._stream.tell(), MAX_BYTES)):
            raise FileLimitError(f"its pickle announces a value of {count} bytes")
        return self._stream.read(count)

    def readline(self) -> bytes:
        """Return the bytes up to the end of a line."""
        return self._stream.readline(MAX_BYTES)

    def tell(self) -> int:
        """Return the position."""
        return self._stream.tell()

    def seek(self, position: int) -> None:
        """Continue at a position."""
        self._stream.seek(position)


def check_opcodes(stream: LimitedStream) -> None:
    """Check the opcodes of the next pickle of a stream, and leave the stream at its end.

    Raises:
        FileLimitError: One would allocate more memory than the pickle has bytes, or there are too many of them.
    """
    for number, (opcode, argument, _) in enumerate(pickletools.genops(cast("IO[bytes]", stream))):
        if number > MAX_OPCODES:
            raise FileLimitError(f"its pickle has more than {MAX_OPCODES} operations")
        if opcode.name in _REFUSED:
            raise FileLimitError("its pickle holds a buffer")
        if opcode.name in _PUTS and int(argument or 0) > number:
            raise FileLimitError(f"its pickle announces {argument} values")
