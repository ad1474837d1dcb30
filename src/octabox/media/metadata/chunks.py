"""What a file was made from, inside it: as text that other programs read, and as JSON that Octabox can run again."""

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

#: Name of the text chunk that the AUTOMATIC1111 web UI writes, and many programs read.
TEXT_CHUNK = "parameters"

#: Name of the chunk that holds our JSON.
CHUNK = "octabox"

#: EXIF tag that holds a comment, and the directory it stands in (EXIF 2.32, 4.6.5).
USER_COMMENT, EXIF_DIRECTORY = 0x9286, 0x8769

#: How an EXIF comment says that it is UTF-16.
UNICODE = b"UNICODE\0"


def as_json(metadata: Mapping[str, Any]) -> str:
    """Return metadata as one line of JSON, in ASCII."""
    return json.dumps(metadata, default=str)


def encode_comment(metadata: Mapping[str, Any], most: int) -> bytes | None:
    """Return metadata as an EXIF comment: the text, then our JSON, in at most so many bytes.

    The text is left out where both together are too long, and there is no comment where the JSON alone is.
    """
    json_line = f"{CHUNK}: {as_json(metadata)}"
    for text in (f"{format_infotext(metadata)}\n{json_line}", json_line):
        encoded = UNICODE + text.encode("utf-16-be", errors="replace")
        if len(encoded) <= most:
            return encoded
    return None


def read_metadata(data: bytes) -> dict[str, Any]:
    """Return the metadata that Octabox wrote into an image, a video or an audio; {} where there is none."""
    try:
        text = _in_image(data)
    except UnidentifiedImageError:
        text = _in_container(data)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return {}
    try:
        metadata = json.loads(text) if text else {}
    except ValueError:
        return {}
    return metadata if isinstance(metadata, dict) else {}


def _in_image(data: bytes) -> str | None:
    with Image.open(io.BytesIO(data)) as image:
        text = image.info.get(CHUNK)
        if isinstance(text, str):
            return text
        remark = image.info.get("comment")
        if isinstance(remark, bytes) and image.format == "GIF":
            return remark.decode("ascii", errors="replace").removeprefix(f"{CHUNK}: ")
        found = image.getexif().get_ifd(EXIF_DIRECTORY).get(USER_COMMENT)
        return _from_comment(found) if isinstance(found, bytes) else None


def _in_container(data: bytes) -> str | None:
    """Return the comment of a video or an audio; each format has its own spelling of the word."""
    limits = MediaLimits(max_bytes=len(data))
    try:
        with open_container(data, parameter="file", limits=limits, hint="") as container:
            return {key.lower(): text for key, text in container.metadata.items()}.get("comment")
    except MediaError:
        return None


def _from_comment(encoded: bytes) -> str | None:
    """Return our JSON out of an EXIF comment."""
    text = "\n" + encoded.removeprefix(UNICODE).decode("utf-16-be", errors="replace")
    _, mark, found = text.rpartition(f"\n{CHUNK}: ")
    return found if mark else None


def read_parameters(data: bytes) -> dict[str, Any]:
    """Return what the AUTOMATIC1111 web UI wrote into an image, in our words; {} where there is nothing.

    The model is named as the web UI names it, and a prompt is to be read by its syntax.
    """
    try:
        with Image.open(io.BytesIO(data)) as image:
            text = image.info.get(TEXT_CHUNK)
            comment_ = image.getexif().get_ifd(EXIF_DIRECTORY).get(USER_COMMENT)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return {}
    if not isinstance(text, str):
        text = (
            comment_.removeprefix(UNICODE).decode("utf-16-be", errors="replace") if isinstance(comment_, bytes) else ""
        )
    return parse_infotext(text) if text.strip() else {}
