"""The first frame of a video as a small image."""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image

from octabox.errors import GenerationError

#: Pixels of the longer side.
MAX_LENGTH = 512

#: The format of thumbnails.
MEDIA_TYPE = "image/webp"


def thumbnail(path: Path, media_type: str) -> bytes:
    """Return the first frame of a video as WebP.

    Args:
        path: The video.
        media_type: Its media type.

    Raises:
        GenerationError: The video cannot be read.
    """
    try:
        frame = _first_image(path) if media_type.startswith("image/") else _first_frame(path)
    except (OSError, ValueError, StopIteration) as error:
        message = "The video cannot be read, so it has no thumbnail."
        raise GenerationError(message, hint="Fetch the video itself.") from error
    frame.thumbnail((MAX_LENGTH, MAX_LENGTH))
    file = io.BytesIO()
    frame.save(file, "WEBP")
    return file.getvalue()


def _first_image(path: Path) -> Image.Image:
    """Return the first image of an animation."""
    with Image.open(path) as animation:
        image: Image.Image = animation.convert("RGB")
        return image


def _first_frame(path: Path) -> Image.Image:
    # The library takes time and memory, and most servers never make a thumbnail.
    import av  # noqa: PLC0415

    with av.open(str(path)) as container:
        frame: Image.Image = next(container.decode(video=0)).to_image()  # type: ignore[no-untyped-call, unused-ignore]
        return frame
