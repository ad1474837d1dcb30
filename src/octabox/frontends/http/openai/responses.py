"""Fields of OpenAI's responses that describe an artifact."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from octabox.types import Artifact


def size_of(artifact: Artifact) -> str | None:
    """Return the size of an artifact as WIDTHxHEIGHT, if it is known."""
    size = artifact.metadata.get("size")
    return f"{size['width']}x{size['height']}" if size else None


def requested_size_of(values: Mapping[str, Any]) -> str | None:
    """Return the size that call parameters set as WIDTHxHEIGHT; None if they do not set both numbers."""
    width, height = values.get("width"), values.get("height")
    return f"{width}x{height}" if isinstance(width, int) and isinstance(height, int) else None
