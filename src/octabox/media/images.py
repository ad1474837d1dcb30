"""Read images that clients send, and write those that models make."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
from PIL import Image, ImageChops, ImageOps, PngImagePlugin, UnidentifiedImageError

from octabox.errors import InvalidParameterError, MediaError
from octabox.media.containers import ENTIRE, media_error
from octabox.media.formats import QUALITY, check_output_format, media_type_of, select_format
from octabox.media.limits import MediaLimits
from octabox.media.metadata.chunks import CHUNK, EXIF_DIRECTORY, TEXT_CHUNK, USER_COMMENT, as_json, encode_comment
from octabox.media.metadata.infotext import format_infotext
from octabox.types import OutputFormat

#: Formats that are read: raster formats whose decoders are small or much used.
READABLE_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP")

#: zlib level of PNG: 1 takes a fifth of the time of Pillow's 6, and files grow by a tenth.
PNG_LEVEL = 1

#: Bytes of a comment that fit into a JPEG's EXIF block, which holds 65,533 with its directories.
MOST_COMMENT = 64_000

#: Alpha of a pixel that hides what is behind it.
OPAQUE = 255


def decode(data: bytes, *, parameter: str, limits: MediaLimits) -> Image.Image:
    """Return an image upright and in RGB; what is transparent becomes white.

    Raises:
        MediaError: The file is no image, is damaged, or is too large.
    """
    with open_image(data, parameter=parameter, limits=limits) as image:
        return to_rgb(image)


def decode_mask(data: bytes, *, parameter: str, limits: MediaLimits) -> Image.Image:
    """Return a mask in L, white where to repaint.

    A file with transparent pixels is a mask as OpenAI's API has them: those pixels are to be repainted.

    Raises:
        MediaError: As for `decode`.
    """
    with open_image(data, parameter=parameter, limits=limits) as opened_image:
        image = _as_eight_bits(ImageOps.exif_transpose(opened_image))
    if _has_alpha(image):
        rgba = image.convert("RGBA")
        alpha = rgba.getchannel("A")
        # A file that is opaque all over has an alpha channel only because its program always writes one.
        return ImageChops.invert(alpha) if alpha.getextrema()[0] != OPAQUE else rgba.convert("L")
    return image.convert("L")


def encode(image: Image.Image, output: OutputFormat, metadata: Mapping[str, Any]) -> tuple[bytes, str]:
    """Return an image as a file, with its metadata inside, and the file's media type.

    Raises:
        InvalidParameterError: The format is none that is written, or the image does not fit it.
    """
    check_output_format(output, "image")
    name = select_format("image", output)
    file, options = io.BytesIO(), _options(name, output, metadata)
    if name == "jpeg" and image.mode not in ("RGB", "L"):
        image = _on_white(image)
    try:
        image.save(file, name.upper(), **options)
    except (ValueError, OSError) as error:
        size = f"{image.width}x{image.height}"
        raise InvalidParameterError(
            f"An image of {size} cannot be written as {name}: {error}.", parameter="output_format"
        ) from error
    return file.getvalue(), media_type_of(name)


def encode_png(image: Image.Image) -> bytes:
    """Return an image as a PNG file that holds nothing besides it."""
    return encode(image, OutputFormat("png"), {})[0]


def read_size(data: bytes) -> tuple[int, int]:
    """Return width and height of an image that we wrote, from its first bytes."""
    with Image.open(io.BytesIO(data), formats=READABLE_FORMATS) as image:
        size: tuple[int, int] = image.size
        return size


def _options(name: str, output: OutputFormat, metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments that write this format with this metadata."""
    if name == "png":
        chunks = PngImagePlugin.PngInfo()
        if metadata:
            # Latin-1 where that is enough, since many readers of this chunk know nothing else.
            chunks.add_text(TEXT_CHUNK, format_infotext(metadata).encode("utf-8", "replace").decode())
            chunks.add_text(CHUNK, as_json(metadata))
        return {"pnginfo": chunks, "compress_level": PNG_LEVEL}
    options: dict[str, Any] = {"quality": QUALITY if output.quality is None else output.quality}
    if (exif := build_exif(metadata)) is not None:
        options["exif"] = exif
    return options


def build_exif(metadata: Mapping[str, Any]) -> Image.Exif | None:
    """Return an EXIF block with metadata as its comment; None where there is none, or too much."""
    encoded = encode_comment(metadata, MOST_COMMENT) if metadata else None
    if encoded is None:
        return None
    exif = Image.Exif()
    exif.get_ifd(EXIF_DIRECTORY)[USER_COMMENT] = encoded
    return exif


def is_image(data: bytes) -> bool:
    """Return whether a file is one of the formats that are read here, in whatever state."""
    try:
        Image.open(io.BytesIO(data), formats=READABLE_FORMATS).close()
    except UnidentifiedImageError:
        return False
    except Exception:  # noqa: BLE001 (a decoder may raise anything over a damaged file)
        return True
    return True


@contextmanager
def open_image(data: bytes, *, parameter: str, limits: MediaLimits) -> Iterator[Image.Image]:
    """Open an image; its size is checked before anything is decoded.

    Whatever a decoder says of it in the block becomes a `MediaError` too.

    Raises:
        MediaError: The file is no image, is damaged, or is too large.
    """
    limits.check_bytes(data, parameter)
    try:
        with Image.open(io.BytesIO(data), formats=READABLE_FORMATS) as image:
            width, height = image.size
            limits.check_size(width, height, parameter)
            image.load()
            yield image
    except MediaError:
        raise
    except UnidentifiedImageError:
        hint = f"Send one of {', '.join(name.lower() for name in READABLE_FORMATS)}."
        raise media_error(parameter, "is no image, or of a kind that is not read", hint) from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise media_error(parameter, "has more pixels than are allowed", "Send a smaller one.") from error
    except Exception as error:  # a decoder may raise anything over a damaged file
        raise media_error(parameter, f"is damaged: {error}".rstrip("."), ENTIRE) from error


def _has_alpha(image: Image.Image) -> bool:
    return image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info


def to_rgb(image: Image.Image) -> Image.Image:
    """Return an image upright and in RGB; what is transparent becomes white, and 16 bits are scaled to 8."""
    upright = _as_eight_bits(ImageOps.exif_transpose(image))
    return _on_white(upright) if _has_alpha(upright) else upright.convert("RGB")


def _on_white(image: Image.Image) -> Image.Image:
    """Lay an image over white, so that what is transparent shows no colours that were hidden."""
    rgba = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")


def _as_eight_bits(image: Image.Image) -> Image.Image:
    """Scale an image of 16 bits to 8; Pillow would cut them off."""
    if not image.mode.startswith("I"):
        return image
    whole = image.convert("I")
    scaled = whole.point(lambda value: value / 257).convert("L")
    clear = image.info.get("transparency")
    if isinstance(clear, int):
        # The one shade that stands for nothing is told in 16 bits.
        alpha = np.where(np.asarray(whole) == clear, 0, OPAQUE).astype(np.uint8)
        scaled.putalpha(Image.fromarray(alpha))
    return scaled
