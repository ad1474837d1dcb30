"""The image that shows what an adapter does."""

from __future__ import annotations

import base64
import io
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save_file

from octabox.hub.adapters import previews
from octabox.hub.adapters.adapter_file import AdapterFile, read_lora
from octabox.hub.adapters.previews import has_preview, read_preview


def image(kind: str) -> bytes:
    """Return an image in a format."""
    stream = io.BytesIO()
    Image.new("RGB", (4, 4), (200, 30, 30)).save(stream, kind)
    return stream.getvalue()


def lora(folder: Path, thumbnail: str = "") -> AdapterFile:
    """Write a LoRA, optionally with a preview in its header, and return it."""
    tensors = {
        f"unet.to_q.lora_{side}.weight": np.zeros(shape, np.float32) for side, shape in (("A", (2, 4)), ("B", (4, 2)))
    }
    save_file(tensors, folder / "ink.v2.safetensors", {"modelspec.thumbnail": thumbnail} if thumbnail else {})
    found = read_lora(folder / "ink.v2.safetensors", "ink.v2")
    assert not found.problem
    return found


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("ink.v2.png", "PNG"),
        ("ink.v2.preview.png", "PNG"),
        ("ink.v2.jpg", "JPEG"),
        ("ink.v2.webp", "WEBP"),
        ("ink.v2.gif", "GIF"),
    ],
)
def test_an_image_beside_the_file(tmp_path: Path, name: str, kind: str) -> None:
    """By the names that the AUTOMATIC1111 web UI and other programs give to it."""
    found = lora(tmp_path)
    assert (False, None) == (has_preview(found), read_preview(found))
    (tmp_path / name).write_bytes(image(kind))

    assert has_preview(found)
    assert (image(kind), f"image/{kind.lower()}") == read_preview(found)


def test_an_image_in_the_header(tmp_path: Path) -> None:
    """It is there for files that carry one; a file beside it is preferred."""
    uri = f"data:image/jpeg;base64,{base64.b64encode(image('JPEG')).decode()}"
    found = lora(tmp_path, uri)
    assert has_preview(found)
    assert (image("JPEG"), "image/jpeg") == read_preview(found)
    (tmp_path / "ink.v2.png").write_bytes(image("PNG"))

    assert (image("PNG"), "image/png") == read_preview(found)


@pytest.mark.parametrize("uri", ["data:image/jpeg;base64,not base64!", "data:image/svg+xml;base64,PHN2Zy8+", "x"])
def test_a_header_without_an_image(tmp_path: Path, uri: str) -> None:
    """What is damaged, or no image that is served, is no preview."""
    assert None is read_preview(lora(tmp_path, uri))


def test_what_is_no_image_is_not_served(tmp_path: Path) -> None:
    """The content decides, not the name: scripts and secrets are no images."""
    found = lora(tmp_path)
    for content in (b"<svg onload='alert(1)'/>", b"root:x:0:0", b""):
        (tmp_path / "ink.v2.png").write_bytes(content)
        assert None is read_preview(found)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no FIFOs")
def test_only_files_of_the_folder_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A link out of it is not, nor a FIFO, which would wait, nor a file that is too large."""
    (tmp_path / "loras").mkdir()
    found = lora(tmp_path / "loras")
    (tmp_path / "secret.png").write_bytes(image("PNG"))
    (tmp_path / "loras" / "ink.v2.png").symlink_to(tmp_path / "secret.png")
    os.mkfifo(tmp_path / "loras" / "ink.v2.preview.png")
    assert (False, None) == (has_preview(found), read_preview(found))

    (tmp_path / "loras" / "ink.v2.jpg").write_bytes(image("JPEG"))
    assert read_preview(found)
    monkeypatch.setattr(previews, "MAX_BYTES", 8)
    assert None is read_preview(found)
