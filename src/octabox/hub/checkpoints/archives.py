"""Read one member of a zip archive, without unpacking more than the archive may hold."""

from __future__ import annotations

import struct
import zipfile
from typing import BinaryIO

#: Largest size of the directory of an archive in bytes; an entry takes about 100.
MAX_DIRECTORY_BYTES = 16 * 2**20

#: How much larger than the archive its members may be: torch does not compress them.
_MAX_RATIO, _MAX_EXTRA_BYTES = 2, 2**20

#: End of an archive: signature, and position of the size of the directory; a comment of up to 64 KiB may follow.
_END, _END_SIZE, _SIZE_AT, _MAX_COMMENT = b"PK\x05\x06", 22, 12, 2**16

#: Signature and size of the pointer to the end of a larger archive, and position of the size of the directory there.
_POINTER, _POINTER_SIZE, _LARGE_SIZE_AT = b"PK\x06\x07", 20, 40

#: Value of a size that is in the end of a larger archive.
_LARGE = 0xFFFFFFFF


class FileLimitError(Exception):
    """A file would take far more memory than its size; the message is the reason, as a part of a sentence."""


def is_archive(stream: BinaryIO) -> bool:
    """Return whether a file is a zip archive.

    Raises:
        FileLimitError: Its directory is too large to read.
    """
    size = stream.seek(0, 2)
    stream.seek(max(0, size - _END_SIZE - _MAX_COMMENT))
    tail = stream.read(_END_SIZE + _MAX_COMMENT)
    at = tail.rfind(_END)
    if at < 0 or len(tail) < at + _END_SIZE:
        return False
    directory = _number("<I", tail, at + _SIZE_AT)
    pointer = at - _POINTER_SIZE
    if directory == _LARGE and pointer >= 0 and tail[pointer:].startswith(_POINTER):
        stream.seek(min(size, _number("<Q", tail, pointer + 8)))
        directory = _number("<Q", stream.read(_LARGE_SIZE_AT + 8).ljust(_LARGE_SIZE_AT + 8, b"\xff"), _LARGE_SIZE_AT)
    if directory > MAX_DIRECTORY_BYTES:
        raise FileLimitError(f"its zip directory has {directory} bytes")
    return zipfile.is_zipfile(stream)


def read_archive_member(stream: BinaryIO, size: int, name: str, limit: int) -> bytes:
    """Return the content of the member with this file name.

    Args:
        stream: An archive.
        size: Its size in bytes.
        name: File name of the member, in any folder.
        limit: Largest size of the member in bytes.

    Raises:
        KeyError: There is no such member.
        FileLimitError: The members, or this one, are larger than an archive of this size can be.
    """
    with zipfile.ZipFile(stream) as archive:
        total = sum(member.file_size for member in archive.infolist())
        if total > _MAX_RATIO * size + _MAX_EXTRA_BYTES:
            raise FileLimitError(f"its zip archive of {size} bytes unpacks to {total} bytes")
        member = next((each for each in archive.infolist() if each.filename.rpartition("/")[2] == name), None)
        if member is None:
            raise KeyError(name)
        with archive.open(member) as opened:
            content = opened.read(limit + 1)
    if len(content) > limit:
        raise FileLimitError(f"its {name} has more than {limit} bytes")
    return content


def _number(code: str, content: bytes, position: int) -> int:
    return int(struct.unpack_from(code, content, position)[0])
