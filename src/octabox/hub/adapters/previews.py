"""Find the image that shows what an adapter does: a file next to it, as other programs write it, or one in its header."""

from __future__ import annotations

import base64
import binascii
import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from octabox.errors import OctaboxError
from octabox.hub.adapters.adapter_file import THUMBNAIL_KEY, AdapterFile
from octabox.hub.checkpoints.tensors import read_header
from octabox.security.filesystem import find_fault, read_file

#: Suffixes of a preview, and what comes between the name of the adapter and the suffix.
SUFFIXES, INFIXES = (".png", ".jpg", ".jpeg", ".webp", ".gif"), (".preview", "")

#: Largest preview in bytes; larger ones are left out.
MAX_BYTES = 16 * 1024**2

#: Start of the content of an image, by its media type. Others, such as SVG, may hold scripts.
_SIGNATURES: Mapping[str, tuple[bytes, bytes]] = {
    "image/png": (b"\x89PNG\r\n\x1a\n", b""),
    "image/jpeg": (b"\xff\xd8\xff", b""),
    "image/webp": (b"RIFF", b"WEBP"),
    "image/gif": (b"GIF8", b""),
}


def has_preview(adapter: AdapterFile) -> bool:
    """Return whether an adapter has a preview, whose content is not read for this."""
    return adapter.thumbnail or next(_files(adapter.file), None) is not None


def read_preview(adapter: AdapterFile) -> tuple[bytes, str] | None:
    """Return the content and the media type of the preview of an adapter; None if it has none that is an image."""
    for content in _contents(adapter):
        media_type = _media_type(content)
        if media_type is not None and len(content) <= MAX_BYTES:
            return content, media_type
    return None


def _contents(adapter: AdapterFile) -> Iterator[bytes]:
    """Yield the contents of what may be a preview, the files first."""
    for path in _files(adapter.file):
        with contextlib.suppress(OSError):
            yield read_file(path, MAX_BYTES + 1)
    if adapter.thumbnail:
        with contextlib.suppress(OctaboxError, OSError, binascii.Error, ValueError):
            _, metadata = read_header(adapter.file)
            yield base64.b64decode(metadata[THUMBNAIL_KEY].partition(",")[2], validate=True)


def _files(adapter: Path) -> Iterator[Path]:
    """Yield the files that may be the preview of an adapter, which are in its folder."""
    stem, folder = adapter.with_suffix("").name, adapter.parent
    for infix in INFIXES:
        for suffix in SUFFIXES:
            path = folder / f"{stem}{infix}{suffix}"
            if os.path.lexists(path) and find_fault(path, root=folder) is None:
                yield path


def _media_type(content: bytes) -> str | None:
    """Return the media type of an image by its content; None if it is not one of those that are served."""
    for media_type, (start, form) in _SIGNATURES.items():
        if content.startswith(start) and content[8 : 8 + len(form)] == form:
            return media_type
    return None
