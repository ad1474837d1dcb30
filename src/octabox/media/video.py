"""Read clips that clients send, and write those that models make."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace
from av.video.stream import VideoStream
from PIL import Image

from octabox.errors import GenerationError, InvalidParameterError
from octabox.media import animations, images
from octabox.media.audio import LAYOUTS, Recording, Sound, fitted
from octabox.media.containers import CLIPS, claimed_seconds, frames, opened, unreadable
from octabox.media.formats import MOST_FPS, QUALITY, check, chosen, media_type_of
from octabox.media.limits import MediaLimits
from octabox.media.metadata.chunks import as_json
from octabox.types import OutputFormat

#: Frames a second where nobody says how many.
FPS = 16.0

#: FFmpeg's encoders of pictures and of sound for each format.
ENCODERS = {"mp4": ("libx264", "aac"), "webm": ("libvpx-vp9", "libopus")}

#: Options of those encoders, besides the quality: chosen for speed.
OPTIONS = {"libx264": {"preset": "fast"}, "libvpx-vp9": {"b": "0", "cpu-used": "6", "row-mt": "1"}}

#: Number of BT.709, the colours of screens, among primaries and transfer curves (ITU-T H.273).
BT709 = 1

#: Formats of single pictures.
STILLS = ("png", "jpeg")

#: How a picture is turned so that it stands upright, by the degrees (counter-clockwise) that its file tells.
TURNS = {
    90: Image.Transpose.ROTATE_90,
    180: Image.Transpose.ROTATE_180,
    270: Image.Transpose.ROTATE_270,
}


@dataclass(frozen=True)
class Clip:
    """A video.

    Args:
        frames: Its pictures in RGB, all of one size.
        fps: How many there are a second.
        sound: Its sound track.
    """

    frames: tuple[Image.Image, ...]
    fps: float = FPS
    sound: Sound | None = None


def decode(data: bytes, *, parameter: str, limits: MediaLimits) -> Clip:
    """Return a clip upright and in RGB, with its sound; a still picture is a clip of one frame.

    The frames are those of the file, at its mean frame rate: where they are not evenly spaced, that is not kept.

    Raises:
        MediaError: The file holds no clip, is damaged, or is too large or too long.
    """
    limits.check_bytes(data, parameter)
    if images.is_picture(data):
        pictures, fps = animations.decode(data, parameter=parameter, limits=limits)
        return Clip(pictures, _usual(fps))
    with opened(data, parameter=parameter, limits=limits, hint=CLIPS) as container:
        # A song's cover stands among the clips of its file.
        tracks = [track for track in container.streams.video if not track.disposition & Disposition.attached_pic]
        if not tracks:
            raise unreadable(parameter, "holds no video", CLIPS)
        tracks[0].thread_type = "AUTO"
        limits.check_size(tracks[0].width, tracks[0].height, parameter)
        recording = Recording(parameter, limits)
        upright: list[Image.Image] = []
        used: list[VideoStream | AudioStream] = [tracks[0], *container.streams.audio[:1]]
        for frame in frames(container, used, parameter=parameter, whole=claimed_seconds(container, data)):
            if isinstance(frame, AudioFrame):
                recording.add(frame)
            else:
                limits.check_frames(len(upright) + 1, (frame.width, frame.height), parameter)
                limits.check_seconds(frame.time or 0.0, parameter)
                upright.append(_picture(frame))
        sound, fps = recording.sound(), float(tracks[0].average_rate or 0)
    if len({picture.size for picture in upright}) != 1:
        why = "has frames of several sizes" if upright else "holds a video with no frames"
        raise unreadable(parameter, why, CLIPS)
    return Clip(tuple(upright), _usual(fps), sound)


def _usual(fps: float | None) -> float:
    """Return a frame rate that can be written again."""
    return fps if fps is not None and 0 < fps <= MOST_FPS else FPS


def _picture(frame: VideoFrame) -> Image.Image:
    turn = TURNS.get(frame.rotation % 360)
    picture = Image.fromarray(frame.to_ndarray(format="rgb24"))
    return picture if turn is None else picture.transpose(turn)


def encode(clip: Clip, output: OutputFormat, metadata: Mapping[str, Any]) -> tuple[bytes, str]:
    """Return a clip as one file, with its metadata inside, and the file's media type.

    MP4 and WebM have the sound too. The frame rate is the one that was asked for, else the clip's own. H.264 stores colours
    at half the resolution, which every player knows; frames with an odd side keep the full one, which only some do.

    Raises:
        InvalidParameterError: The format is none that is written, or the clip does not fit it.
        GenerationError: The clip has no frames, or frames of several sizes.
    """
    check(output, "video")
    name = chosen("video", output)
    sizes = {frame.size for frame in clip.frames}
    if len(sizes) != 1:
        raise GenerationError(f"The model made a video with {'frames of several sizes' if sizes else 'no frames'}.")
    if name in STILLS:
        if len(clip.frames) == 1:
            return images.encode(clip.frames[0], output, metadata)
        raise InvalidParameterError(
            f"A video of {len(clip.frames)} frames cannot be one file of {name}.", parameter="output_format"
        )
    fps, pictures = (
        output.fps or clip.fps,
        [frame if frame.mode == "RGB" else images.as_rgb(frame) for frame in clip.frames],
    )
    try:
        if name in animations.TICKS:
            content = animations.encode(pictures, name, fps, output.quality, metadata)
        else:
            content = _in_container(Clip(tuple(pictures), fps, clip.sound), name, output.quality, metadata)
    except (av.FFmpegError, ValueError, OSError, RuntimeError) as error:
        width, height = pictures[0].size
        raise InvalidParameterError(
            f"A video of {len(pictures)} frames of {width}x{height} cannot be written as {name}: {error}.",
            parameter="output_format",
        ) from error
    return content, media_type_of(name)


def _in_container(clip: Clip, name: str, quality: int | None, metadata: Mapping[str, Any]) -> bytes:
    """Write a clip with FFmpeg; by way of a file, which alone can be put in order for playing while it loads."""
    options = {"movflags": "+faststart"} if name == "mp4" else {}
    with tempfile.TemporaryDirectory(prefix="octabox-") as folder:
        path = Path(folder) / f"clip.{name}"
        with av.open(str(path), "w", format=name, options=options) as container:
            if metadata:
                container.metadata["comment"] = as_json(metadata)
            _write(container, clip, name, QUALITY if quality is None else quality)
        return path.read_bytes()


def _write(container: OutputContainer, clip: Clip, name: str, quality: int) -> None:
    picture_codec, sound_codec = ENCODERS[name]
    rate = max(Fraction(clip.fps).limit_denominator(100_000), Fraction(1, 100_000))
    pictures = _picture_stream(container, picture_codec, clip.frames[0].size, rate, quality)
    sound = None if clip.sound is None or not clip.sound.samples.size else fitted(clip.sound, sound_codec)
    track = None
    if sound is not None:
        track = container.add_stream(sound_codec, rate=sound.rate, layout=LAYOUTS[sound.channels])
    told = 0
    for index, picture in enumerate(clip.frames):
        frame = VideoFrame.from_ndarray(np.asarray(picture), format="rgb24").reformat(
            format=pictures.pix_fmt, dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG
        )
        frame.pts, frame.time_base = index, 1 / rate
        container.mux(pictures.encode(frame))
        if sound is not None and isinstance(track, AudioStream):
            # The sound of each frame goes beside it, so that a player need not search.
            last = index + 1 == len(clip.frames)
            end = sound.samples.shape[1] if last else int((index + 1) * sound.rate / rate)
            _write_sound(container, track, sound, told, end)
            told = max(told, min(end, sound.samples.shape[1]))
    container.mux(pictures.encode(None))
    if isinstance(track, AudioStream):
        container.mux(track.encode(None))


def _picture_stream(
    container: OutputContainer, codec: str, size: tuple[int, int], rate: Fraction, quality: int
) -> VideoStream:
    # 0 to 51 (H.264) or 63 (VP9), least loss first; from 13 on a loss can be seen at all.
    options = {"crf": str(round(48 - 0.35 * quality)), **OPTIONS[codec]}
    stream = cast(VideoStream, container.add_stream(codec, rate=rate, options=options))
    stream.width, stream.height = size
    odd = codec == "libx264" and (size[0] % 2 or size[1] % 2)
    stream.pix_fmt = "yuv444p" if odd else "yuv420p"
    context = stream.codec_context
    context.thread_count = os.cpu_count() or 1
    # Said in the file, or players guess from its size.
    context.colorspace, context.color_range = Colorspace.ITU709, ColorRange.MPEG
    context.color_primaries = context.color_trc = BT709
    return stream


def _write_sound(container: OutputContainer, track: AudioStream, sound: Sound, begin: int, end: int) -> None:
    """Write the samples from ``begin`` on and before ``end``."""
    samples = np.ascontiguousarray(sound.samples[:, begin:end], np.float32)
    if not samples.size:
        return
    frame = AudioFrame.from_ndarray(np.nan_to_num(samples).clip(-1, 1), format="fltp", layout=LAYOUTS[sound.channels])
    frame.sample_rate, frame.pts, frame.time_base = sound.rate, begin, Fraction(1, sound.rate)
    container.mux(track.encode(frame))
