"""Open and demux video and audio containers."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from contextlib import contextmanager

import av
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from octabox.errors import MediaError
from octabox.media.limits import MediaLimits

#: Allowed FFmpeg demuxers, each by one of its names. Playlists are excluded, since they make FFmpeg open other files and
#: URLs.
DEMUXERS = ("mov", "matroska", "avi", "wav", "flac", "mp3", "ogg", "aac")

#: Markers of an MP3 header with the exact duration; without it the duration is estimated.
LENGTH_MARKS = (b"Xing", b"Info")

#: Data sizes in a WAV that was written to a pipe: zero, or near the maximum.
UNKNOWN_LENGTH, HUGE_LENGTH = 0, 0x7FFF_0000

#: A file whose streams end before this share of its declared duration is truncated.
MIN_SHARE = 0.9

#: Rounding tolerance for short files, in seconds.
ROUNDING = 0.1

VIDEO_HINT = "Send a video as MP4, WebM, MOV, MKV, AVI, GIF, WebP or APNG."
COMPLETE_HINT = "Send the complete file."
AUDIO_HINT = "Send audio as WAV, FLAC, MP3, OGG or M4A."


@contextmanager
def open_container(data: bytes, *, parameter: str, limits: MediaLimits, hint: str) -> Iterator[InputContainer]:
    """Open a container; errors of decoders inside the block are raised as `MediaError` too.

    Args:
        data: Content of the file.
        parameter: Name of the call parameter, for errors.
        limits: Limits of the input.
        hint: Hint of errors.

    Raises:
        MediaError: The format is not supported, or the file is damaged or too large.
    """
    limits.check_bytes(data, parameter)
    is_open = False
    # FFmpeg must not access anything but these bytes.
    options = {"format_whitelist": ",".join(DEMUXERS), "protocol_whitelist": "none"}
    try:
        with av.open(io.BytesIO(data), "r", container_options=options) as container:
            is_open = True
            yield container
    except MediaError:
        raise
    except Exception as error:  # a decoder may raise anything over a damaged file
        why = "is damaged" if is_open else "is damaged, or of an unsupported format"
        raise media_error(parameter, why, hint) from error


def decode_frames(
    container: InputContainer, streams: list[VideoStream | AudioStream], *, parameter: str, duration: float | None
) -> Iterator[VideoFrame | AudioFrame]:
    """Yield the frames of streams in file order.

    Args:
        container: An open container.
        streams: Streams to decode.
        parameter: Name of the call parameter, for errors.
        duration: Declared duration in seconds; None if unknown, infinity if the end of the file may be missing.

    Raises:
        MediaError: The file is damaged or truncated.
    """
    end = 0.0
    for packet in container.demux(streams):
        if packet.is_corrupt and duration != math.inf:
            raise media_error(parameter, "is damaged or truncated", COMPLETE_HINT)
        if packet.pts is not None and packet.time_base is not None:
            end = max(end, float((packet.pts + (packet.duration or 0)) * packet.time_base))
        for frame in packet.decode():
            if isinstance(frame, (VideoFrame, AudioFrame)):
                yield frame
    if duration is not None and duration != math.inf and end + ROUNDING < MIN_SHARE * duration:
        raise media_error(
            parameter, f"is truncated: it declares {duration:.1f} seconds and has {end:.1f}", COMPLETE_HINT
        )


def declared_duration(container: InputContainer, data: bytes) -> float | None:
    """Return the declared duration of a file, for `decode_frames`."""
    name = container.format.name
    if name == "wav":
        at = data.find(b"data", 12, 4096)
        size = int.from_bytes(data[at + 4 : at + 8], "little") if at >= 0 else 1
        return math.inf if size == UNKNOWN_LENGTH or size >= HUGE_LENGTH else None
    # The demuxers of other formats detect truncation themselves.
    is_reliable = "matroska" in name or (name == "mp3" and any(mark in data[:65536] for mark in LENGTH_MARKS))
    return container.duration / av.time_base if is_reliable and container.duration else None


def media_error(parameter: str, why: str, hint: str = "") -> MediaError:
    """Return the error for an invalid file."""
    return MediaError(f"The file for '{parameter}' {why}.", hint=hint, parameter=parameter)
