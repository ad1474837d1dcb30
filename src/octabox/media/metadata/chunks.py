"""Read and write generation metadata in files: as text for other programs, and as JSON that Octabox can run again."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from typing import Any

from PIL import Image, UnidentifiedImageError

from octabox.errors import MediaError
from octabox.media.containers import open_container
from octabox.media.limits import MediaLimits
from octabox.media.metadata.infotext import format_infotext, parse_infotext
from octabox.security.json_files import parse_json

#: Text chunk of the AUTOMATIC1111 web UI, which many programs read.
TEXT_CHUNK = "parameters"

#: Text chunk with the JSON of Octabox.
CHUNK = "octabox"

#: EXIF tag of the comment, and its directory (EXIF 2.32, 4.6.5).
USER_COMMENT, EXIF_DIRECTORY = 0x9286, 0x8769

#: Prefixes of an EXIF comment, each a code of its characters (EXIF 2.32, table 9): UTF-16, ASCII, and one that is not stated.
UNICODE, ASCII, UNDEFINED = b"UNICODE\0", b"ASCII\0\0\0", bytes(8)


def as_json(metadata: Mapping[str, Any]) -> str:
    """Return metadata as one line of JSON in ASCII."""
    return json.dumps(metadata, default=str)


def encode_comment(metadata: Mapping[str, Any], max_bytes: int) -> bytes | None:
    """Encode metadata as an EXIF comment with the text and the JSON.

    If both exceed the maximum size, the text is omitted; if the JSON alone exceeds it, the result is None.
    """
    json_line = f"{CHUNK}: {as_json(metadata)}"
    for text in (f"{format_infotext(metadata)}\n{json_line}", json_line):
        encoded = UNICODE + text.encode("utf-16-be", errors="replace")
        if len(encoded) <= max_bytes:
            return encoded
    return None


def read_metadata(data: bytes, formats: tuple[str, ...] | None = None) -> dict[str, Any]:
    """Read the metadata that Octabox wrote to an image, a video or audio; empty if there is none.

    Args:
        data: Content of the file.
        formats: Formats that an image may have; None for all that Pillow reads.
    """
    try:
        text = _in_image(data, formats)
    except UnidentifiedImageError:
        text = _in_container(data)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return {}
    try:
        metadata = parse_json(text) if text else {}
    except ValueError:
        return {}
    return metadata if isinstance(metadata, dict) else {}


def _in_image(data: bytes, formats: tuple[str, ...] | None) -> str | None:
    with Image.open(io.BytesIO(data), formats=formats) as image:
        text = image.info.get(CHUNK)
        if isinstance(text, str):
            return text
        remark = image.info.get("comment")
        if isinstance(remark, bytes) and image.format == "GIF":
            return remark.decode("ascii", errors="replace").removeprefix(f"{CHUNK}: ")
        found = image.getexif().get_ifd(EXIF_DIRECTORY).get(USER_COMMENT)
        return _from_comment(found)


def _in_container(data: bytes) -> str | None:
    """Return the comment of a video or audio; the letter case of the key depends on the format."""
    limits = MediaLimits(max_bytes=len(data))
    try:
        with open_container(data, parameter="file", limits=limits, hint="") as container:
            return {key.lower(): text for key, text in container.metadata.items()}.get("comment")
    except MediaError:
        return None


def _from_comment(comment: object) -> str | None:
    """Return the JSON of Octabox in an EXIF comment."""
    _, mark, found = f"\n{decode_comment(comment)}".rpartition(f"\n{CHUNK}: ")
    return found if mark else None


def decode_comment(comment: object) -> str:
    """Return the text of an EXIF comment, which programs write in several encodings; empty for any other value.

    Args:
        comment: Its bytes, or a text, as of a file that declares it as one.
    """
    if isinstance(comment, str):
        return comment
    if not isinstance(comment, bytes):
        return ""
    if comment.startswith(UNICODE):
        encoded = comment.removeprefix(UNICODE)
        # The byte order is that of the EXIF block or not, by program: spaces and line ends have the byte 0 first or second.
        order = "le" if encoded[1::2].count(0) > encoded[::2].count(0) else "be"
        return encoded.decode(f"utf-16-{order}", errors="replace").strip("\N{ZERO WIDTH NO-BREAK SPACE}\0")
    for code in (ASCII, UNDEFINED):
        comment = comment.removeprefix(code)
    return comment.rstrip(b"\0").decode("utf-8", errors="ignore")


def read_parameters(data: bytes) -> dict[str, Any]:
    """Read the metadata that the AUTOMATIC1111 web UI wrote to an image, as that of Octabox; empty if there is none.

    The model has its name in the web UI, and the prompt has the syntax of the web UI.
    """
    text = read_infotext(data)
    return parse_infotext(text) if text else {}


def read_infotext(data: bytes) -> str:
    """Read the infotext of an image of this user; empty if there is none. `images.decode_texts` is for those of others."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            text = image.info.get(TEXT_CHUNK)
            comment = image.getexif().get_ifd(EXIF_DIRECTORY).get(USER_COMMENT)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return ""
    return strip_json(text if isinstance(text, str) else decode_comment(comment))


def strip_json(text: str) -> str:
    """Return an infotext without the JSON of Octabox behind it."""
    return text.rpartition(f"\n{CHUNK}: ")[0].strip() or text.strip()
