"""Pictures in and out."""

import io
import struct
import zlib
from typing import Any

import pytest
from PIL import Image

from fakes import picture
from octabox.errors import InvalidParameterError, MediaError
from octabox.media.images import MediaLimits, decode, decode_mask, encode
from octabox.types import OutputFormat

LIMITS = MediaLimits(max_pixels=10_000, max_bytes=100_000)


def saved(image: Image.Image, form: str = "PNG", **options: Any) -> bytes:
    """Return a picture as a file."""
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def bomb(width: int, height: int) -> bytes:
    """Return a small PNG that claims to be of this size."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")
    )


def first_pixel(image: Image.Image) -> Any:
    """Return the pixel at the upper left."""
    return image.getpixel((0, 0))


def read(data: bytes) -> Image.Image:
    """Decode a picture within the limits."""
    return decode(data, parameter="image", limits=LIMITS)


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"])
def test_formats(form: str) -> None:
    """Every common format is read."""
    image = read(picture("white", form=form))

    assert ("RGB", (16, 8), (255, 255, 255)) == (image.mode, image.size, first_pixel(image))


@pytest.mark.parametrize(
    ("image", "pixel"),
    [
        (Image.new("1", (4, 4), 1), (255, 255, 255)),
        (Image.new("L", (4, 4), 90), (90, 90, 90)),
        (Image.new("P", (4, 4), 0), (0, 0, 0)),
        (Image.new("RGBA", (4, 4), (255, 0, 0, 0)), (255, 255, 255)),
        (Image.new("RGBA", (4, 4), (255, 0, 0, 255)), (255, 0, 0)),
        (Image.new("LA", (4, 4), (0, 0)), (255, 255, 255)),
        (Image.new("I;16", (4, 4), 128 * 257), (128, 128, 128)),
        (Image.new("I;16", (4, 4), 65535), (255, 255, 255)),
    ],
)
def test_modes(image: Image.Image, pixel: tuple[int, int, int]) -> None:
    """Every mode becomes RGB of the same look; what is transparent becomes white."""
    assert pixel == first_pixel(read(saved(image)))


def test_cmyk() -> None:
    """A picture for print is turned into RGB."""
    red, green, blue = first_pixel(read(saved(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG")))

    assert red > 200
    assert max(green, blue) < 60


def test_floats() -> None:
    """A picture of floats from 0 to 1 is scaled."""
    pixel = first_pixel(read(saved(Image.new("F", (4, 4), 0.5), "TIFF")))

    assert pixel in {(127, 127, 127), (128, 128, 128)}


def test_transparent_colour_of_a_palette() -> None:
    """A colour of a palette that is transparent becomes white."""
    image = Image.new("P", (4, 4), 0)
    image.putpalette([255, 0, 0] * 256)

    assert (255, 255, 255) == first_pixel(read(saved(image, transparency=0)))


def test_turned_by_exif() -> None:
    """A camera's note that the picture is turned is honoured."""
    exif = Image.Exif()
    exif[0x0112] = 6

    assert (8, 16) == read(saved(Image.new("RGB", (16, 8)), "JPEG", exif=exif)).size


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "no picture"),
        (b"not a picture", "no picture"),
        (b"%PDF-1.7", "no picture"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "no picture"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "no picture"),
        (picture()[:50], "damaged"),
        (picture(form="JPEG")[:-200], "damaged"),
        (picture()[:40], "no picture"),
        (picture(form="WEBP")[:30], "damaged|no picture"),
        (picture(form="TIFF")[:100], "damaged|no picture"),
        (bomb(100_000, 100_000), "10000 pixels"),
        (bomb(101, 100), "101x100"),
        (bomb(50, 50), "damaged"),
        (b"\0" * 100_001, "100001 bytes"),
    ],
)
def test_bad_pictures(data: bytes, why: str) -> None:
    """What is no picture, is damaged or too large is refused, and said why; a good one after it is read."""
    with pytest.raises(MediaError, match=why) as caught:
        read(data)

    assert "image" == caught.value.parameter
    assert (16, 8) == read(picture()).size


def test_mask_by_colour() -> None:
    """A mask without transparency is white where to repaint."""
    mask = decode_mask(picture("white"), parameter="mask", limits=LIMITS)

    assert ("L", 255) == (mask.mode, first_pixel(mask))


def test_mask_by_transparency() -> None:
    """A mask with transparency is to be repainted where it is transparent, as OpenAI's are."""
    image = Image.new("RGBA", (4, 4), (0, 0, 0, 255))
    image.putpixel((0, 0), (0, 0, 0, 0))
    mask = decode_mask(saved(image), parameter="mask", limits=LIMITS)

    assert (255, 0) == (first_pixel(mask), mask.getpixel((1, 1)))


def test_opaque_mask_with_alpha() -> None:
    """A mask that has an alpha channel without any transparency is one by colour."""
    data = saved(Image.new("RGBA", (4, 4), "white"))

    assert 255 == first_pixel(decode_mask(data, parameter="mask", limits=LIMITS))


@pytest.mark.parametrize(
    ("name", "media_type"), [(None, "image/png"), ("png", "image/png"), ("JPEG", "image/jpeg"), ("webp", "image/webp")]
)
def test_encode(name: str | None, media_type: str) -> None:
    """A picture is written in the format that was asked for; in PNG where none was."""
    data, found = encode(Image.new("RGB", (8, 8), "red"), OutputFormat(name), {})

    assert media_type == found
    assert media_type == Image.open(io.BytesIO(data)).get_format_mimetype()


def test_transparency_in_jpeg() -> None:
    """A picture with alpha can be written as JPEG, which has none."""
    data, _ = encode(Image.new("RGBA", (8, 8), "red"), OutputFormat("jpeg"), {})

    assert "RGB" == Image.open(io.BytesIO(data)).mode


def test_quality() -> None:
    """A lower quality gives a smaller file; 0 is a quality."""
    noise = Image.effect_noise((64, 64), 80)
    sizes = [len(encode(noise, OutputFormat("jpeg", quality), {})[0]) for quality in (0, 50, 100)]

    assert sorted(set(sizes)) == sizes


def test_same_picture_same_bytes() -> None:
    """The same picture with the same metadata gives the same file."""
    one, two = (encode(Image.new("RGB", (8, 8)), OutputFormat(), {"seed": 1})[0] for _ in range(2))

    assert one == two


@pytest.mark.parametrize("output", [OutputFormat("gif"), OutputFormat("jpeg", 101), OutputFormat("webp", -1)])
def test_output_that_cannot_be(output: OutputFormat) -> None:
    """A format or a quality that there is not is refused."""
    with pytest.raises(InvalidParameterError):
        encode(Image.new("RGB", (8, 8)), output, {})


def test_too_wide_for_the_format() -> None:
    """A picture that a format cannot hold is refused with its size."""
    with pytest.raises(InvalidParameterError, match="70000x1"):
        encode(Image.new("RGB", (70_000, 1)), OutputFormat("webp"), {})
