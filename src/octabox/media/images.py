"""Decode input images and encode output images."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageChops, ImageOps, PngImagePlugin, UnidentifiedImageError

from octabox.errors import InvalidParameterError, MediaError
from octabox.media.containers import COMPLETE_HINT, media_error
from octabox.media.formats import QUALITY, check_output_format, media_type_of, select_format
from octabox.media.limits import MediaLimits
from octabox.media.metadata.chunks import (
    CHUNK,
    EXIF_DIRECTORY,
    TEXT_CHUNK,
    USER_COMMENT,
    as_json,
    decode_comment,
    encode_comment,
    strip_json,
)
from octabox.media.metadata.infotext import format_infotext
from octabox.types import OutputFormat

#: Input formats: raster formats with small or widely used decoders.
READABLE_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP")

#: zlib level of PNG: level 1 takes a fifth of the time of Pillow's default 6, for files that are a tenth larger.
PNG_LEVEL = 1

#: Maximum size of a comment in the EXIF block of a JPEG, which holds 65,533 bytes with its directories.
MAX_COMMENT = 64_000

#: EXIF tag of the orientation, and its values for an image that lies on its side.
ORIENTATION, QUARTER_TURNS = 0x0112, frozenset({5, 6, 7, 8})

#: Alpha of an opaque pixel.
OPAQUE = 255


def decode(data: bytes, *, parameter: str, limits: MediaLimits) -> Image.Image:
    """Decode an image to RGB, upright, with transparency replaced by white.

    Raises:
        MediaError: The file is not an image, is damaged, or is too large.
    """
    with open_image(data, parameter=parameter, limits=limits) as image:
        return to_rgb(image)


def decode_mask(data: bytes, *, parameter: str, limits: MediaLimits) -> Image.Image:
    """Decode a mask to mode L, with white for the area to inpaint.

    In a file with transparent pixels, these are the area to inpaint, as in OpenAI's API.

    Raises:
        MediaError: As for `decode`.
    """
    with open_image(data, parameter=parameter, limits=limits) as opened_image:
        image = _as_eight_bits(ImageOps.exif_transpose(opened_image))
    if _has_alpha(image):
        rgba = image.convert("RGBA")
        alpha = rgba.getchannel("A")
        # The alpha channel of an opaque image is ignored.
        return ImageChops.invert(alpha) if alpha.getextrema()[0] != OPAQUE else rgba.convert("L")
    return image.convert("L")


def decode_transparency(data: bytes, *, parameter: str, limits: MediaLimits) -> Image.Image:
    """Decode where an image is transparent: to mode L, upright, black where it is opaque.

    Raises:
        MediaError: As for `decode`.
    """
    with open_image(data, parameter=parameter, limits=limits) as image:
        if not _has_alpha(image):
            return Image.new("L", (1, 1))
        upright = _as_eight_bits(ImageOps.exif_transpose(image))
        return ImageChops.invert(upright.convert("RGBA").getchannel("A"))


def decode_texts(data: bytes, *, parameter: str, limits: MediaLimits) -> npt.NDArray[np.uint8]:
    """Decode the texts in the file of an image, which may follow its pixels, with its infotext as that of the web UI's chunk.

    Returns:
        An object of texts by their names, as JSON in UTF-8: decoders send media and arrays alone.

    Raises:
        MediaError: As for `decode`.
    """
    with open_image(data, parameter=parameter, limits=limits) as image:
        texts = {str(name): value for name, value in image.info.items() if isinstance(value, str)}
        comment = image.getexif().get_ifd(EXIF_DIRECTORY).get(USER_COMMENT)
    texts[TEXT_CHUNK] = strip_json(texts[TEXT_CHUNK] if TEXT_CHUNK in texts else decode_comment(comment))
    return np.frombuffer(json.dumps(texts).encode(), np.uint8)


def encode(image: Image.Image, output: OutputFormat, metadata: Mapping[str, Any]) -> tuple[bytes, str]:
    """Encode an image to a file with its metadata, and return it with its media type.

    Raises:
        InvalidParameterError: The format is not supported, or the image does not fit it.
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
    """Encode an image to PNG without metadata."""
    return encode(image, OutputFormat("png"), {})[0]


def read_size(data: bytes) -> tuple[int, int]:
    """Return the width and height of an encoded image when it is upright, without decoding it."""
    with Image.open(io.BytesIO(data), formats=READABLE_FORMATS) as image:
        width, height = image.size
        # That of a PNG reads its pixels first, since the data may follow them.
        exif = Image.Image.getexif(image)
        return (height, width) if exif.get(ORIENTATION) in QUARTER_TURNS else (width, height)


def _options(name: str, output: OutputFormat, metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of Pillow for a format and metadata."""
    if name == "png":
        chunks = PngImagePlugin.PngInfo()
        if metadata:
            # Latin-1 if possible, since many readers of this chunk support nothing else.
            chunks.add_text(TEXT_CHUNK, format_infotext(metadata).encode("utf-8", "replace").decode())
            chunks.add_text(CHUNK, as_json(metadata))
        return {"pnginfo": chunks, "compress_level": PNG_LEVEL}
    options: dict[str, Any] = {"quality": QUALITY if output.quality is None else output.quality}
    if (exif := build_exif(metadata)) is not None:
        options["exif"] = exif
    return options


def build_exif(metadata: Mapping[str, Any]) -> Image.Exif | None:
    """Return an EXIF block with metadata as its comment; None if there is no metadata or it is too large."""
    encoded = encode_comment(metadata, MAX_COMMENT) if metadata else None
    if encoded is None:
        return None
    exif = Image.Exif()
    exif.get_ifd(EXIF_DIRECTORY)[USER_COMMENT] = encoded
    return exif


def is_image(data: bytes) -> bool:
    """Return whether a file has an image format, possibly damaged."""
    try:
        Image.open(io.BytesIO(data), formats=READABLE_FORMATS).close()
    except UnidentifiedImageError:
        return False
    except Exception:  # noqa: BLE001 (a decoder may raise anything over a damaged file)
        return True
    return True


@contextmanager
def open_image(data: bytes, *, parameter: str, limits: MediaLimits) -> Iterator[Image.Image]:
    """Open an image; its size is checked before it is decoded.

    Errors of decoders inside the block are raised as `MediaError` too.

    Raises:
        MediaError: The file is not an image, is damaged, or is too large.
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
        raise media_error(parameter, "is not an image, or of an unsupported format", hint) from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise media_error(parameter, "has too many pixels", "Send a smaller image.") from error
    except Exception as error:  # a decoder may raise anything over a damaged file
        raise media_error(parameter, f"is damaged: {error}".rstrip("."), COMPLETE_HINT) from error


def _has_alpha(image: Image.Image) -> bool:
    return image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info


def to_rgb(image: Image.Image) -> Image.Image:
    """Convert an image to RGB, upright, with transparency replaced by white and 16 bits scaled to 8."""
    upright = _as_eight_bits(ImageOps.exif_transpose(image))
    return _on_white(upright) if _has_alpha(upright) else upright.convert("RGB")


def _on_white(image: Image.Image) -> Image.Image:
    """Composite an image over white."""
    rgba = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")


def _as_eight_bits(image: Image.Image) -> Image.Image:
    """Scale a 16-bit image to 8 bits, which Pillow would saturate."""
    if not image.mode.startswith("I"):
        return image
    values = image.convert("I")
    scaled = values.point(lambda value: value / 257).convert("L")
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        # The transparent value is in 16 bits.
        alpha = np.where(np.asarray(values) == transparent, 0, OPAQUE).astype(np.uint8)
        scaled.putalpha(Image.fromarray(alpha))
    return scaled
