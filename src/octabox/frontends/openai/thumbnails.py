"""The first frame of a clip as a small picture."""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image

from octabox.errors import GenerationError

#: Pixels of the longer side.
LONGEST = 512

#: The format of thumbnails.
MEDIA_TYPE = "image/webp"


def thumbnail(path: Path, media_type: str) -> bytes:
    """Return the first frame of a clip as WebP.

    Args:
        path: The clip.
        media_type: Its media type.

    Raises:
        GenerationError: The clip cannot be read.
    """
    try:
        frame = _first_picture(path) if media_type.startswith("image/") else _first_frame(path)
    except (OSError, ValueError, StopIteration) as error:
        message = "The video cannot be read, so it has no thumbnail."
        raise GenerationError(message, hint="Fetch the video itself.") from error
    frame.thumbnail((LONGEST, LONGEST))
    file = io.BytesIO()
    frame.save(file, "WEBP")
    return file.getvalue()


def _first_picture(path: Path) -> Image.Image:
    """Return the first picture of an animation."""
    with Image.open(path) as animation:
        return animation.convert("RGB")


def _first_frame(path: Path) -> Image.Image:
    # The library takes time and memory, and most servers never make a thumbnail.
    import av  # noqa: PLC0415

    with av.open(str(path)) as clip:
        frame: Image.Image = next(clip.decode(video=0)).to_image()  # type: ignore[no-untyped-call]
        return frame
