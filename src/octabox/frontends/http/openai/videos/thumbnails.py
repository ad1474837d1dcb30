"""Thumbnails of videos."""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image

from octabox.errors import GenerationError

#: Maximum length of a side in pixels.
MAX_LENGTH = 512

#: Media type of thumbnails.
MEDIA_TYPE = "image/webp"


def thumbnail(path: Path, media_type: str) -> bytes:
    """Return the first frame of a video as a small WebP image.

    Args:
        path: The video.
        media_type: Its media type.

    Raises:
        GenerationError: The video cannot be decoded.
    """
    try:
        frame = _read_image(path) if media_type.startswith("image/") else _read_frame(path)
    except (OSError, ValueError, StopIteration) as error:
        message = "The video cannot be decoded, so it has no thumbnail."
        raise GenerationError(message, hint="Fetch the video instead.") from error
    frame.thumbnail((MAX_LENGTH, MAX_LENGTH))
    file = io.BytesIO()
    frame.save(file, "WEBP")
    return file.getvalue()


def _read_image(path: Path) -> Image.Image:
    """Return the first image of an animation."""
    with Image.open(path) as animation:
        image: Image.Image = animation.convert("RGB")
        return image


def _read_frame(path: Path) -> Image.Image:
    """Return the first frame of a video file."""
    # The import takes time and memory, and many servers never make a thumbnail.
    import av  # noqa: PLC0415

    with av.open(str(path)) as container:
        frame: Image.Image = next(container.decode(video=0)).to_image()  # type: ignore[no-untyped-call, unused-ignore]
        return frame
