"""Fields of OpenAI's responses that describe an artifact."""

from __future__ import annotations

from octabox.types import Artifact


def size_of(artifact: Artifact) -> str | None:
    """Return the size of an artifact as WIDTHxHEIGHT, if it is known."""
    size = artifact.metadata.get("size")
    return f"{size['width']}x{size['height']}" if size else None
