"""What decodes the files of a request: a function for each kind of parameter."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy.typing as npt
from PIL import Image

from octabox.media import arrays, audio, images, video
from octabox.media.audio import Audio
from octabox.media.limits import MediaLimits
from octabox.media.video import Video

#: What a decoder makes of a file.
Decoded = Image.Image | Video | Audio | npt.NDArray[Any]

#: How the files for each kind of parameter are decoded.
DECODERS: Mapping[str, Callable[..., Decoded]] = {
    "image": images.decode,
    "mask": images.decode_mask,
    "video": video.decode,
    "audio": audio.decode,
    "array": arrays.decode,
}


class Decoder(Protocol):
    """Decodes the files of clients."""

    def decode(self, kind: str, data: bytes, *, parameter: str) -> Decoded:
        """Return what a file holds; the calling thread waits.

        Args:
            kind: One of `DECODERS`.
            data: The file.
            parameter: The parameter that it is for.

        Raises:
            MediaError: The file cannot be decoded, or is too large.
        """
        ...


class InProcessDecoder:
    """Decodes in the calling process, for files that come from a trusted place.

    Args:
        limits: How large a file, and what it holds, may be.
    """

    def __init__(self, limits: MediaLimits) -> None:
        self._limits = limits

    def decode(self, kind: str, data: bytes, *, parameter: str) -> Decoded:
        """Return what a file holds, as `Decoder.decode`."""
        return DECODERS[kind](data, parameter=parameter, limits=self._limits)
