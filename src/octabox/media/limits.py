"""How large the media of a request may be."""

from __future__ import annotations

from dataclasses import dataclass

from octabox.errors import MediaError


@dataclass(frozen=True)
class MediaLimits:
    """How large an input may be.

    Args:
        max_pixels: Pixels of one image, or of one frame of a video.
        max_bytes: Bytes of one file.
        max_frames: Frames of one video.
        max_seconds: Seconds of one video or audio.
        max_video_pixels: Pixels of all frames of one video together; each takes three bytes once it is decoded.
    """

    max_pixels: int = 64 * 1024 * 1024
    max_bytes: int = 50 * 1024 * 1024
    max_frames: int = 2048
    max_seconds: float = 600.0
    max_video_pixels: int = 256 * 1024 * 1024

    def check_bytes(self, data: bytes, parameter: str) -> None:
        """Make sure that a file is neither empty nor too long.

        Raises:
            MediaError: It is.
        """
        if not data:
            raise MediaError(
                f"The file for '{parameter}' is empty.", hint="Send one with content.", parameter=parameter
            )
        if len(data) > self.max_bytes:
            raise MediaError(
                f"The file for '{parameter}' has {len(data)} bytes, more than the {self.max_bytes} that are allowed.",
                parameter=parameter,
            )

    def check_size(self, width: int, height: int, parameter: str) -> None:
        """Make sure that an image or a frame is not too large.

        Raises:
            MediaError: It is.
        """
        if width * height > self.max_pixels:
            raise MediaError(
                f"The image for '{parameter}' is {width}x{height}, "
                f"more than the {self.max_pixels} pixels that are allowed.",
                hint="Send a smaller one.",
                parameter=parameter,
            )

    def check_frames(self, count: int, size: tuple[int, int], parameter: str) -> None:
        """Make sure that a video is not too large.

        Args:
            count: How many frames there are so far.
            size: Width and height of the latest one.
            parameter: What the video is for.

        Raises:
            MediaError: There are too many, or they are too large one by one or together.
        """
        self.check_size(*size, parameter)
        if count > self.max_frames:
            raise _too_much(parameter, f"has more than the {self.max_frames} frames that are allowed")
        if count * size[0] * size[1] > self.max_video_pixels:
            raise _too_much(parameter, f"has more than {self.max_video_pixels} pixels in its frames together")

    def check_seconds(self, seconds: float, parameter: str) -> None:
        """Make sure that a video or an audio does not last too long.

        Raises:
            MediaError: It does.
        """
        if seconds > self.max_seconds:
            raise _too_much(parameter, f"lasts longer than the {self.max_seconds:g} seconds that are allowed")


def _too_much(parameter: str, why: str) -> MediaError:
    return MediaError(f"The file for '{parameter}' {why}.", hint="Send a shorter or smaller one.", parameter=parameter)
