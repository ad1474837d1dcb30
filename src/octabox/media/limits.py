"""Limits of input media."""

from __future__ import annotations

from dataclasses import dataclass

from octabox.errors import InvalidParameterError, MediaError


@dataclass(frozen=True)
class MediaLimits:
    """Limits of input media.

    Args:
        max_pixels: Maximum number of pixels of an image or a video frame.
        max_bytes: Maximum size of a file in bytes.
        max_frames: Maximum number of frames of a video.
        max_seconds: Maximum duration of a video or audio in seconds.
        max_video_pixels: Maximum number of pixels of all frames of a video; each takes three bytes in memory.
    """

    max_pixels: int = 64 * 1024 * 1024
    max_bytes: int = 50 * 1024 * 1024
    max_frames: int = 2048
    max_seconds: float = 600.0
    max_video_pixels: int = 256 * 1024 * 1024

    def check_bytes(self, data: bytes, parameter: str) -> None:
        """Check that a file is neither empty nor too large.

        Raises:
            MediaError: It is empty or too large.
        """
        if not data:
            raise MediaError(
                f"The file for '{parameter}' is empty.", hint="Send a file with content.", parameter=parameter
            )
        if len(data) > self.max_bytes:
            raise MediaError(
                f"The file for '{parameter}' has {len(data)} bytes, more than the limit of {self.max_bytes}.",
                parameter=parameter,
            )

    def check_size(self, width: int, height: int, parameter: str) -> None:
        """Check that an image or a frame is not too large.

        Raises:
            MediaError: It is too large.
        """
        if width * height > self.max_pixels:
            raise MediaError(
                f"The image for '{parameter}' is {width}x{height}, more than the limit of {self.max_pixels} pixels.",
                hint="Send a smaller image.",
                parameter=parameter,
            )

    def check_frames(self, count: int, size: tuple[int, int], parameter: str) -> None:
        """Check that a video is not too large.

        Args:
            count: Number of frames so far.
            size: Width and height of the latest frame.
            parameter: Name of the call parameter, for errors.

        Raises:
            MediaError: There are too many frames, or they are too large.
        """
        self.check_size(*size, parameter)
        if count > self.max_frames:
            raise _limit_error(parameter, f"has more than the limit of {self.max_frames} frames")
        if count * size[0] * size[1] > self.max_video_pixels:
            raise _limit_error(parameter, f"has more than the limit of {self.max_video_pixels} pixels in all frames")

    def check_seconds(self, seconds: float, parameter: str) -> None:
        """Check that a video or audio is not too long.

        Raises:
            MediaError: It is too long.
        """
        if seconds > self.max_seconds:
            raise _limit_error(parameter, f"is longer than the limit of {self.max_seconds:g} seconds")


def check_output_size(size: tuple[int, int], limit: int, parameter: str) -> None:
    """Check that an image that is asked for is not too large.

    Args:
        size: Its width and height.
        limit: Maximum number of its pixels.
        parameter: Name of the parameter for the size, for the error.

    Raises:
        InvalidParameterError: It is too large.
    """
    if size[0] * size[1] > limit:
        raise InvalidParameterError(
            f"An image of {size[0]}x{size[1]} exceeds the limit of {limit} pixels.",
            hint="Request a smaller one, or raise `max_image_pixels`.",
            parameter=parameter,
        )


def _limit_error(parameter: str, why: str) -> MediaError:
    return MediaError(f"The file for '{parameter}' {why}.", hint="Send a shorter or smaller file.", parameter=parameter)
