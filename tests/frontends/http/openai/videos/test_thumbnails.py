"""The first frame of a video as a small image."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from PIL import Image

from octabox.errors import GenerationError
from octabox.frontends.http.openai.videos.thumbnails import thumbnail


@pytest.mark.parametrize("name", ["gif", "webp"])
def test_an_animation(tmp_path: Path, name: str) -> None:
    """The first image of an animation is its thumbnail."""
    first, second = (Image.new("RGB", (40, 20), colour) for colour in ("red", "blue"))
    path = tmp_path / f"a.{name}"
    first.save(path, save_all=True, append_images=[second])
    shown = Image.open(io.BytesIO(thumbnail(path, f"image/{name}"))).convert("RGB")
    pixel = shown.getpixel((20, 10))

    assert (40, 20) == shown.size
    assert isinstance(pixel, tuple)
    assert pixel[0] > 200 > pixel[2]


@pytest.mark.parametrize("media_type", ["video/mp4", "image/gif"])
def test_what_cannot_be_read(tmp_path: Path, media_type: str) -> None:
    """A file that is no video has no thumbnail, and the error says what to do."""
    path = tmp_path / "a"
    path.write_bytes(b"no clip at all")

    with pytest.raises(GenerationError, match="Fetch the video instead"):
        thumbnail(path, media_type)
