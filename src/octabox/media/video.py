"""Read videos that clients send, and write those that models make."""

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
from octabox.media.audio import LAYOUTS, Audio, AudioBuffer, fit_to_encoder
from octabox.media.containers import VIDEOS, declared_duration, decode_frames, media_error, open_container
from octabox.media.formats import MAX_FPS, QUALITY, check_output_format, media_type_of, select_format
from octabox.media.limits import MediaLimits
from octabox.media.metadata.chunks import as_json
from octabox.types import OutputFormat

#: Frames a second where nobody says how many.
FPS = 16.0

#: FFmpeg's encoders of images and of audio for each format.
ENCODERS = {"mp4": ("libx264", "aac"), "webm": ("libvpx-vp9", "libopus")}

#: Options of those encoders, besides the quality: chosen for speed.
OPTIONS = {"libx264": {"preset": "fast"}, "libvpx-vp9": {"b": "0", "cpu-used": "6", "row-mt": "1"}}

#: Number of BT.709, the colours of screens, among primaries and transfer curves (ITU-T H.273).
BT709 = 1

#: Formats of single images.
STILLS = ("png", "jpeg")

#: How an image is turned so that it stands upright, by the degrees (counter-clockwise) that its file tells.
TURNS = {
    90: Image.Transpose.ROTATE_90,
    180: Image.Transpose.ROTATE_180,
    270: Image.Transpose.ROTATE_270,
}


@dataclass(frozen=True)
class Video:
    """A video.

    Args:
        frames: Its images in RGB, all of one size.
        fps: How many there are a second.
        audio: Its audio track.
    """

    frames: tuple[Image.Image, ...]
    fps: float = FPS
    audio: Audio | None = None


def decode(data: bytes, *, parameter: str, limits: MediaLimits) -> Video:
    """Return a video upright and in RGB, with its audio; a still image is a video of one frame.

    The frames are those of the file, at its mean frame rate: where they are not evenly spaced, that is not kept.

    Raises:
        MediaError: The file holds no video, is damaged, or is too large or too long.
    """
    limits.check_bytes(data, parameter)
    if images.is_image(data):
        stills, fps = animations.decode(data, parameter=parameter, limits=limits)
        return Video(stills, _usual(fps))
    with open_container(data, parameter=parameter, limits=limits, hint=VIDEOS) as container:
        # A song's cover stands among the videos of its file.
        tracks = [track for track in container.streams.video if not track.disposition & Disposition.attached_pic]
        if not tracks:
            raise media_error(parameter, "holds no video", VIDEOS)
        tracks[0].thread_type = "AUTO"
        # What a file claims is refused before it is decoded; what it holds is counted all the same.
        limits.check_frames(max(1, tracks[0].frames), (tracks[0].width, tracks[0].height), parameter)
        recording = AudioBuffer(parameter, limits)
        upright: list[Image.Image] = []
        used: list[VideoStream | AudioStream] = [tracks[0], *container.streams.audio[:1]]
        for frame in decode_frames(container, used, parameter=parameter, whole=declared_duration(container, data)):
            if isinstance(frame, AudioFrame):
                recording.add(frame)
            else:
                limits.check_frames(len(upright) + 1, (frame.width, frame.height), parameter)
                limits.check_seconds(frame.time or 0.0, parameter)
                upright.append(_image(frame))
        audio, fps = recording.audio(), float(tracks[0].average_rate or 0)
    if len({image.size for image in upright}) != 1:
        why = "has frames of several sizes" if upright else "holds a video with no frames"
        raise media_error(parameter, why, VIDEOS)
    return Video(tuple(upright), _usual(fps), audio)


def _usual(fps: float | None) -> float:
    """Return a frame rate that can be written again."""
    return fps if fps is not None and 0 < fps <= MAX_FPS else FPS


def _image(frame: VideoFrame) -> Image.Image:
    turn = TURNS.get(frame.rotation % 360)
    image = Image.fromarray(frame.to_ndarray(format="rgb24"))
    return image if turn is None else image.transpose(turn)


def encode(video: Video, output: OutputFormat, metadata: Mapping[str, Any]) -> tuple[bytes, str]:
    """Return a video as one file, with its metadata inside, and the file's media type.

    MP4 and WebM have the audio too. The frame rate is the one that was asked for, else the video's own. H.264 stores colours
    at half the resolution, which every player knows; frames with an odd side keep the full one, which only some do.

    Raises:
        InvalidParameterError: The format is none that is written, or the video does not fit it.
        GenerationError: The video has no frames, or frames of several sizes.
    """
    check_output_format(output, "video")
    name = select_format("video", output)
    sizes = {frame.size for frame in video.frames}
    if len(sizes) != 1:
        raise GenerationError(f"The model made a video with {'frames of several sizes' if sizes else 'no frames'}.")
    if name in STILLS:
        if len(video.frames) == 1:
            return images.encode(video.frames[0], output, metadata)
        raise InvalidParameterError(
            f"A video of {len(video.frames)} frames cannot be one file of {name}.", parameter="output_format"
        )
    fps, frames = (
        output.fps or video.fps,
        [frame if frame.mode == "RGB" else images.to_rgb(frame) for frame in video.frames],
    )
    try:
        if name in animations.TICKS:
            content = animations.encode(frames, name, fps, output.quality, metadata)
        else:
            content = _in_container(Video(tuple(frames), fps, video.audio), name, output.quality, metadata)
    except (av.FFmpegError, ValueError, OSError, RuntimeError) as error:
        width, height = frames[0].size
        raise InvalidParameterError(
            f"A video of {len(frames)} frames of {width}x{height} cannot be written as {name}: {error}.",
            parameter="output_format",
        ) from error
    return content, media_type_of(name)


def _in_container(video: Video, name: str, quality: int | None, metadata: Mapping[str, Any]) -> bytes:
    """Write a video with FFmpeg; by way of a file, which alone can be put in order for playing while it loads."""
    options = {"movflags": "+faststart"} if name == "mp4" else {}
    with tempfile.TemporaryDirectory(prefix="octabox-") as folder:
        path = Path(folder) / f"video.{name}"
        with av.open(str(path), "w", format=name, options=options) as container:
            if metadata:
                container.metadata["comment"] = as_json(metadata)
            _write(container, video, name, QUALITY if quality is None else quality)
        return path.read_bytes()


def _write(container: OutputContainer, video: Video, name: str, quality: int) -> None:
    image_codec, audio_codec = ENCODERS[name]
    rate = max(Fraction(video.fps).limit_denominator(100_000), Fraction(1, 100_000))
    stream = _image_stream(container, image_codec, video.frames[0].size, rate, quality)
    audio = None if video.audio is None or not video.audio.samples.size else fit_to_encoder(video.audio, audio_codec)
    track = None
    if audio is not None:
        track = container.add_stream(audio_codec, rate=audio.rate, layout=LAYOUTS[audio.channels])
    told = 0
    for index, image in enumerate(video.frames):
        frame = VideoFrame.from_ndarray(np.asarray(image), format="rgb24").reformat(
            format=stream.pix_fmt, dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG
        )
        frame.pts, frame.time_base = index, 1 / rate
        container.mux(stream.encode(frame))
        if audio is not None and isinstance(track, AudioStream):
            # The audio of each frame goes beside it, so that a player need not search.
            last = index + 1 == len(video.frames)
            end = audio.samples.shape[1] if last else int((index + 1) * audio.rate / rate)
            _write_audio(container, track, audio, told, end)
            told = max(told, min(end, audio.samples.shape[1]))
    container.mux(stream.encode(None))
    if isinstance(track, AudioStream):
        container.mux(track.encode(None))


def _image_stream(
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


def _write_audio(container: OutputContainer, track: AudioStream, audio: Audio, begin: int, end: int) -> None:
    """Write the samples from ``begin`` on and before ``end``."""
    samples = np.ascontiguousarray(audio.samples[:, begin:end], np.float32)
    if not samples.size:
        return
    frame = AudioFrame.from_ndarray(np.nan_to_num(samples).clip(-1, 1), format="fltp", layout=LAYOUTS[audio.channels])
    frame.sample_rate, frame.pts, frame.time_base = audio.rate, begin, Fraction(1, audio.rate)
    container.mux(track.encode(frame))
