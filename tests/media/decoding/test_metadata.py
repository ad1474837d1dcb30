"""The request in the metadata of a file, of any format and of both programs."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from octabox.errors import MediaError
from octabox.media.decoding.metadata import decode_metadata
from octabox.media.images import encode
from octabox.media.limits import MediaLimits
from octabox.types import OutputFormat

HIRES = (
    "a cat\nNegative prompt: blurry\nSteps: 25, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 6.5, Seed: 42, "
    "Size: 640x512, Denoising strength: 0.4, Clip skip: 2, Hires upscale: 2, Hires steps: 9, Hires upscaler: Latent, "
    "ADetailer model: face"
)


def read(data: bytes) -> Any:
    """Return what a file holds."""
    return json.loads(decode_metadata(data, parameter="file", limits=MediaLimits()).tobytes())


def as_web_ui(name: str, text: str) -> bytes:
    """Return an image as the AUTOMATIC1111 web UI writes it."""
    image, stream = Image.new("RGB", (8, 8)), io.BytesIO()
    if name == "png":
        chunks = PngInfo()
        chunks.add_itxt("parameters", text)
        image.save(stream, name, pnginfo=chunks)
    else:
        exif = Image.Exif()
        exif.get_ifd(0x8769)[0x9286] = b"UNICODE\0" + text.encode("utf-16-be")
        image.save(stream, name, exif=exif)
    return stream.getvalue()


@pytest.mark.parametrize("name", ["jpeg", "webp", "png"])
def test_files_of_each_format(name: str) -> None:
    """What Octabox and the AUTOMATIC1111 web UI write to an image is read back; and an infotext by itself."""
    metadata = {"model": "demo", "params": {"prompt": "a café, 猫"}, "seed": 5}
    own = read(encode(Image.new("RGB", (8, 8)), OutputFormat(name), metadata)[0])
    assert {"metadata": metadata, "unused": []} == own

    other = read(as_web_ui(name, HIRES))
    assert other == read(HIRES.encode())
    assert {"scale": 2.0, "steps": 9, "strength": 0.4, "upscaler": "latent"} == other["metadata"]["workflow"]["hires"]
    assert "strength" not in other["metadata"]["params"]
    assert 2 == other["metadata"]["clip_layer"]


@pytest.mark.parametrize(
    ("pairs", "unused"),
    [
        ('Model hash: ab, Lora hashes: "x: 1, y: 2", TI hashes: z, Hashes: {}, Version: v1', []),
        ("ADetailer model: face", ["ADetailer model"]),
        ("Hires steps: 4", ["Hires steps"]),
        ("Mask blur: 4", ["Mask blur"]),
        ("Sigma churn: 1", ["Sigma churn"]),
        ("Sampler: Euler, Sigma churn: 1", []),
        ("Refiner: xl, Refiner switch at: 0.8, Clip skip: 2, Tiling: True", []),
        ("Variation seed: 1, Variation seed strength: 0.5, Distilled CFG Scale: 3", []),
    ],
)
def test_what_has_no_field_is_named(pairs: str, unused: list[str]) -> None:
    """Pairs that describe files and programs say nothing about a request."""
    assert unused == read(f"a cat\nSteps: 25, Seed: 1, CFG scale: 2, {pairs}".encode())["unused"]


def test_files_without_metadata() -> None:
    """Pictures, texts and files that are cut off anywhere are refused, or read; nothing else is raised."""
    plain = io.BytesIO()
    Image.new("RGB", (8, 8)).save(plain, "png")
    for data in (plain.getvalue(), b"a cat", b"\xff\xfe\0", b"\0" * 99):
        with pytest.raises(MediaError, match="no generation metadata"):
            read(data)
    for name in ("jpeg", "webp", "png"):
        whole = as_web_ui(name, HIRES)
        for length in range(0, len(whole), 7):
            try:
                assert "params" in read(whole[:length])["metadata"]
            except MediaError:
                continue


@pytest.mark.parametrize(
    "damaged",
    [
        "[" * 100_000,
        '{"params": 1}',
        '{"workflow": [], "adapters": {}, "clip_layer": "2", "model": [], "task": {}, "x": 1}',
        "[1]",
    ],
)
def test_metadata_of_a_wrong_form(damaged: str) -> None:
    """A client gets a request's types, or an error."""
    chunks, stream = PngInfo(), io.BytesIO()
    chunks.add_text("octabox", damaged)
    Image.new("RGB", (8, 8)).save(stream, "png", pnginfo=chunks)
    try:
        found = read(stream.getvalue())["metadata"]
    except MediaError:
        return
    assert {} == found["params"]
    assert {"workflow", "adapters", "clip_layer", "model", "task"}.isdisjoint(found)


def test_an_image_with_too_many_pixels_is_refused() -> None:
    """Before Pillow reads its pixels, which it does for the EXIF block of a PNG."""
    file = as_web_ui("png", HIRES)
    with pytest.raises(MediaError, match="63 pixels"):
        decode_metadata(file, parameter="file", limits=MediaLimits(max_pixels=63))
