"""Decoders of input files, by parameter kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy.typing as npt
from PIL import Image

from octabox.media import arrays, audio, images, video
from octabox.media.audio import Audio
from octabox.media.decoding.metadata import decode_metadata
from octabox.media.video import Video

#: A decoded file.
Decoded = Image.Image | Video | Audio | npt.NDArray[Any]

#: Decoder functions by parameter kind, and those of an image's transparency, of the texts in a file and of its generation
#: metadata.
DECODERS: Mapping[str, Callable[..., Decoded]] = {
    "image": images.decode,
    "mask": images.decode_mask,
    "transparency": images.decode_transparency,
    "texts": images.decode_texts,
    "video": video.decode,
    "audio": audio.decode,
    "array": arrays.decode,
    "metadata": decode_metadata,
}


class Decoder(Protocol):
    """Decodes input files."""

    async def decode(self, kind: str, data: bytes, *, parameter: str) -> Decoded:
        """Decode a file.

        Args:
            kind: One of `DECODERS`.
            data: Content of the file.
            parameter: Name of the call parameter, for errors.

        Raises:
            MediaError: The file cannot be decoded, or is too large.
        """
        ...
