"""Open videos and audio: files that hold streams of packets."""

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

#: FFmpeg's readers that may be used, each by one of its names. Playlists and lists of files are none of them: those
#: would have FFmpeg open other files, and addresses on the network.
READERS = ("mov", "matroska", "avi", "wav", "flac", "mp3", "ogg", "aac")

#: Marks in an MP3 of a header that tells its true length; without it the length is a guess.
LENGTH_MARKS = (b"Xing", b"Info")

#: Lengths that a WAV claims while it is still being written to a pipe: none, or about as much as a number can hold.
UNKNOWN_LENGTH, HUGE_LENGTH = 0, 0x7FFF_0000

#: A file whose streams end before this part of the length that it claims was cut off.
WHOLE = 0.9

#: Seconds that rounding may take from a short file.
ROUNDING = 0.1

VIDEOS = "Send a video as MP4, WebM, MOV, MKV, AVI, GIF, WebP or APNG."
ENTIRE = "Send the whole file."
AUDIO = "Send an audio as WAV, FLAC, MP3, OGG or M4A."


@contextmanager
def open_container(data: bytes, *, parameter: str, limits: MediaLimits, hint: str) -> Iterator[InputContainer]:
    """Open a file; whatever a decoder says of it in the block becomes a `MediaError` too.

    Args:
        data: The file.
        parameter: What it is for.
        limits: How large it may be.
        hint: What the caller is to send instead.

    Raises:
        MediaError: The file is none that is read, is damaged, or is too large.
    """
    limits.check_bytes(data, parameter)
    known = False
    # FFmpeg must reach nothing but these bytes, whatever they say.
    options = {"format_whitelist": ",".join(READERS), "protocol_whitelist": "none"}
    try:
        with av.open(io.BytesIO(data), "r", container_options=options) as container:
            known = True
            yield container
    except MediaError:
        raise
    except Exception as error:  # a decoder may raise anything over a damaged file
        why = "is damaged" if known else "is damaged, or of a kind that is not read"
        raise media_error(parameter, why, hint) from error


def decode_frames(
    container: InputContainer, streams: list[VideoStream | AudioStream], *, parameter: str, whole: float | None
) -> Iterator[VideoFrame | AudioFrame]:
    """Yield the frames of some streams as they stand in the file.

    Args:
        container: An open file.
        streams: Its streams to decode.
        parameter: What the file is for.
        whole: Seconds that the file claims to last; None where that is not told, infinity where it lasts as long as it does.

    Raises:
        MediaError: The file was cut off.
    """
    end = 0.0
    for packet in container.demux(streams):
        if packet.is_corrupt and whole != math.inf:
            raise media_error(parameter, "is damaged, or was cut off", ENTIRE)
        if packet.pts is not None and packet.time_base is not None:
            end = max(end, float((packet.pts + (packet.duration or 0)) * packet.time_base))
        for frame in packet.decode():
            if isinstance(frame, (VideoFrame, AudioFrame)):
                yield frame
    if whole is not None and whole != math.inf and end + ROUNDING < WHOLE * whole:
        raise media_error(parameter, f"was cut off: it claims {whole:.1f} seconds and has {end:.1f}", ENTIRE)


def declared_duration(container: InputContainer, data: bytes) -> float | None:
    """Return how long a file says that it lasts, as `decode_frames` takes it."""
    name = container.format.name
    if name == "wav":
        at = data.find(b"data", 12, 4096)
        size = int.from_bytes(data[at + 4 : at + 8], "little") if at >= 0 else 1
        return math.inf if size == UNKNOWN_LENGTH or size >= HUGE_LENGTH else None
    # Of other formats the reader itself finds out where something is missing.
    told = "matroska" in name or (name == "mp3" and any(mark in data[:65536] for mark in LENGTH_MARKS))
    return container.duration / av.time_base if told and container.duration else None


def media_error(parameter: str, why: str, hint: str = "") -> MediaError:
    """Return the error of a file that cannot be read."""
    return MediaError(f"The file for '{parameter}' {why}.", hint=hint, parameter=parameter)
