"""Images in and out."""

import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image

from octabox.errors import InvalidParameterError, MediaError
from octabox.media.images import decode, decode_mask, decode_transparency, encode, read_size
from octabox.media.limits import MediaLimits
from octabox.types import OutputFormat

LIMITS = MediaLimits(max_pixels=64 * 64, max_bytes=100_000)
RED, WHITE, CLEAR = (255, 0, 0), (255, 255, 255), (255, 0, 0, 0)


def file_of(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    """Return an image as a file."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def read(data: bytes) -> Image.Image:
    """Decode a file as the parameter ``image``."""
    return decode(data, parameter="image", limits=LIMITS)


def mask(data: bytes) -> Image.Image:
    """Decode a file as the parameter ``mask_image``."""
    return decode_mask(data, parameter="mask_image", limits=LIMITS)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP"])
def test_formats_that_are_read(kind: str) -> None:
    """Each usual format gives the colour that went in."""
    image = read(file_of(Image.new("RGB", (8, 8), RED), kind))

    assert ("RGB", (8, 8)) == (image.mode, image.size)
    assert np.allclose(RED, np.asarray(image)[4, 4], atol=6)


@pytest.mark.parametrize("mode", ["1", "L", "P", "CMYK", "RGBA", "LA", "I;16"])
def test_every_mode_becomes_rgb(mode: str) -> None:
    """White stays white, whatever way the file writes it."""
    white: Any = {"1": 1, "I;16": 65535, "CMYK": (0, 0, 0, 0)}.get(mode, "white")
    image = read(file_of(Image.new(mode, (4, 4), white), "JPEG" if mode == "CMYK" else "PNG"))

    assert ("RGB", WHITE) == (image.mode, image.getpixel((0, 0)))


def test_sixteen_bits_are_scaled() -> None:
    """Half of 65535 is half of 255, not white."""
    image = read(file_of(Image.new("I;16", (4, 4), 32768)))

    assert (127, 127, 127) == image.getpixel((0, 0))


def test_a_shade_of_sixteen_bits_may_be_transparent() -> None:
    """The shade that stands for nothing becomes white and is repainted; all others are scaled, not cut off."""
    shades = np.array([[0, 257, 32896, 65535]], np.uint16)
    file = file_of(Image.fromarray(shades), transparency=0)

    assert [255, 1, 128, 255] == np.asarray(read(file))[0, :, 0].tolist()
    assert [255, 0, 0, 0] == np.asarray(mask(file))[0].tolist()


@pytest.mark.parametrize(
    ("data", "hint"),
    [
        (b"text", "png, jpeg"),
        (file_of(Image.new("RGB", (32, 32)))[:60], "complete"),
        (file_of(Image.new("L", (65, 64))), "smaller"),
    ],
)
def test_the_hint_says_what_to_send(data: bytes, hint: str) -> None:
    """Another kind of file, the whole of it, or a smaller one."""
    with pytest.raises(MediaError) as caught:
        read(data)

    assert hint in caught.value.hint


def test_what_is_transparent_is_white() -> None:
    """Colours behind full transparency do not show."""
    assert WHITE == read(file_of(Image.new("RGBA", (4, 4), CLEAR))).getpixel((0, 0))


def test_a_palette_may_be_transparent() -> None:
    """A palette's transparent colour is white too."""
    palette = Image.new("P", (4, 4), 0)
    palette.putpalette([255, 0, 0])

    assert WHITE == read(file_of(palette, "GIF", transparency=0)).getpixel((0, 0))


def test_a_photo_is_turned_upright() -> None:
    """The camera's note of how it was held is followed."""
    exif = Image.Exif()
    exif[0x0112] = 6

    assert (4, 8) == read(file_of(Image.new("RGB", (8, 4)), "JPEG", exif=exif)).size


@pytest.mark.parametrize("turn", range(1, 9))
def test_transparency_and_size_are_upright_too(turn: int) -> None:
    """The transparency of a photo covers the same pixels as its colours, and its size is that of the decoded image."""
    image, exif = Image.new("RGBA", (8, 4), (*RED, 255)), Image.Exif()
    image.putpixel((0, 0), CLEAR)
    exif[0x0112] = turn
    file = file_of(image, exif=exif)
    transparency = decode_transparency(file, parameter="image", limits=LIMITS)
    colours = read(file)

    assert colours.size == transparency.size == read_size(file)
    clear = next(index for index, value in enumerate(transparency.tobytes()) if value)
    assert WHITE == colours.getpixel((clear % colours.width, clear // colours.width))


def test_a_size_is_read_without_the_pixels() -> None:
    """A large PNG takes no time, and one that breaks off has a size."""
    whole = file_of(Image.effect_noise((64, 32), 50), "PNG")

    assert (64, 32) == read_size(whole[:200])


def test_an_animation_gives_its_first_image() -> None:
    """Later images of a GIF are left alone."""
    later = [Image.new("RGB", (4, 4), "blue")]

    assert RED == read(file_of(Image.new("RGB", (4, 4), RED), "GIF", save_all=True, append_images=later)).getpixel(
        (0, 0)
    )


def bomb(width: int, height: int) -> bytes:
    """Return a small PNG that says it is very large."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"\0" * 1000)), (b"IEND", b"")]
    body = (struct.pack(">I", len(c)) + n + c + struct.pack(">I", zlib.crc32(n + c)) for n, c in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(body)


NOISE = np.random.default_rng(0).integers(0, 255, (32, 32, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "is empty"),
        (b"hello", "is not an image"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "is not an image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "is not an image"),
        (file_of(Image.fromarray(NOISE))[:900], "is damaged"),
        (file_of(Image.fromarray(NOISE), "JPEG")[:300], "is damaged"),
        (bomb(64, 65), "64x65"),
        (bomb(10_000, 10_000), "pixels"),
        (bomb(100_000, 100_000), "pixels"),
        (b"\0" * 100_001, "100001 bytes"),
    ],
)
def test_what_cannot_be_read(data: bytes, says: str) -> None:
    """Each file that is no image, is damaged or is too large is an error that names the parameter and says why."""
    with pytest.raises(MediaError, match=says) as caught:
        read(data)

    assert "image" == caught.value.parameter


def test_a_mask_of_black_and_white() -> None:
    """White is what to repaint."""
    half = Image.new("RGB", (2, 1), "black")
    half.putpixel((1, 0), WHITE)

    assert ("L", b"\x00\xff") == ((found := mask(file_of(half))).mode, found.tobytes())


def test_a_mask_of_openai() -> None:
    """Transparent is what to repaint, whatever its colour."""
    half = Image.new("RGBA", (2, 1), (*WHITE, 255))
    half.putpixel((1, 0), (0, 0, 0, 0))

    assert b"\x00\xff" == mask(file_of(half)).tobytes()


def test_a_mask_with_an_idle_alpha_channel() -> None:
    """Where nothing is transparent, the colours are the mask."""
    half = Image.new("RGBA", (2, 1), (0, 0, 0, 255))
    half.putpixel((1, 0), (255, 255, 255, 255))

    assert b"\x00\xff" == mask(file_of(half)).tobytes()


@pytest.mark.parametrize(
    ("name", "media_type"),
    [(None, "image/png"), ("png", "image/png"), ("JPEG", "image/jpeg"), ("jpg", "image/jpeg"), ("webp", "image/webp")],
)
def test_formats_that_are_written(name: str | None, media_type: str) -> None:
    """The file is of the format that was asked for, and its size can be told without decoding it."""
    content, written = encode(Image.new("RGB", (6, 4), RED), OutputFormat(name), {})

    assert (media_type, (6, 4)) == (written, read_size(content))


def test_png_keeps_every_value() -> None:
    """A PNG is lossless."""
    content, _ = encode(Image.fromarray(NOISE), OutputFormat(), {"model": "demo"})

    assert np.array_equal(NOISE, np.asarray(read(content)))


def test_quality_decides_the_size() -> None:
    """A lower quality gives a smaller file."""
    image = Image.fromarray(NOISE)
    low, high = (encode(image, OutputFormat("jpeg", quality), {})[0] for quality in (10, 95))

    assert len(low) < len(high)


def test_a_transparent_image_as_jpeg() -> None:
    """JPEG has no transparency: it becomes white."""
    content, _ = encode(Image.new("RGBA", (8, 8), CLEAR), OutputFormat("jpeg"), {})

    assert WHITE == read(content).getpixel((4, 4))


def test_an_unknown_format() -> None:
    """A format that is not written is not replaced by another one."""
    with pytest.raises(InvalidParameterError, match="'gif'"):
        encode(Image.new("RGB", (4, 4)), OutputFormat("gif"), {})


def test_an_image_that_does_not_fit_its_format() -> None:
    """WebP ends at 16383 pixels a side; that is said, with the format's parameter."""
    with pytest.raises(InvalidParameterError, match="16384x1") as caught:
        encode(Image.new("RGB", (16384, 1)), OutputFormat("webp"), {})

    assert "output_format" == caught.value.parameter
