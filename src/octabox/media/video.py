"""Decode input videos and encode output videos."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, cast

import av
import numpy as np
import numpy.typing as npt
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace
from av.video.stream import VideoStream
from PIL import Image

from octabox.errors import GenerationError, InvalidParameterError
from octabox.media import animations, arrays, images
from octabox.media.audio import LAYOUTS, Audio, AudioBuffer, fit_to_encoder
from octabox.media.containers import VIDEO_HINT, declared_duration, decode_frames, media_error, open_container
from octabox.media.formats import MAX_FPS, QUALITY, STILLS, check_output_format, media_type_of, select_format
from octabox.media.limits import MediaLimits
from octabox.media.metadata.chunks import as_json
from octabox.security.temporary_folder import TemporaryFolder
from octabox.types import OutputFormat

#: Default frame rate.
DEFAULT_FPS = 16.0

#: FFmpeg video and audio encoders of each format.
ENCODERS = {"mp4": ("libx264", "aac"), "webm": ("libvpx-vp9", "libopus")}

#: Options of these encoders in addition to the quality, chosen for speed.
OPTIONS = {"libx264": {"preset": "fast"}, "libvpx-vp9": {"b": "0", "cpu-used": "6", "row-mt": "1"}}

#: BT.709 colour primaries and transfer characteristics (ITU-T H.273).
BT709 = 1

#: Axes of a video as an array, and its channels.
FRAME_AXES, CHANNELS = 4, 3

ARRAY_HINT = "Send (frames, height, width, 3), as uint8, or as floats from 0 to 1."

#: Transpositions that make a frame upright, by its rotation in degrees (counter-clockwise).
ROTATIONS = {
    90: Image.Transpose.ROTATE_90,
    180: Image.Transpose.ROTATE_180,
    270: Image.Transpose.ROTATE_270,
}


@dataclass(frozen=True)
class Video:
    """A video.

    Args:
        frames: RGB frames of the same size.
        fps: Frames per second.
        audio: Audio track.
        is_timed: Whether ``fps`` is the rate of its source; arrays and images have none.
    """

    frames: tuple[Image.Image, ...]
    fps: float = DEFAULT_FPS
    audio: Audio | None = None
    is_timed: bool = True


def decode(data: bytes, *, parameter: str, limits: MediaLimits) -> Video:
    """Decode a video to upright RGB frames, with its audio; a still image is a video of one frame.

    An .npy file is an array of (frames, height, width, channels). The frames have the average frame rate of the file; variable
    frame rates are not preserved.

    Raises:
        MediaError: The file has no video, is damaged, or exceeds a limit.
    """
    limits.check_bytes(data, parameter)
    if data.startswith(arrays.MAGIC):
        array = arrays.decode(data, parameter=parameter, limits=limits)
        return Video(_array_frames(array, parameter, limits), is_timed=False)
    if images.is_image(data):
        stills, fps = animations.decode(data, parameter=parameter, limits=limits)
        return Video(stills, _valid_fps(fps), is_timed=_is_valid_fps(fps))
    with open_container(data, parameter=parameter, limits=limits, hint=VIDEO_HINT) as container:
        # Cover art of audio files is a video track too.
        tracks = [track for track in container.streams.video if not track.disposition & Disposition.attached_pic]
        if not tracks:
            raise media_error(parameter, "has no video", VIDEO_HINT)
        tracks[0].thread_type = "AUTO"
        # What a file claims is refused before it is decoded; what it holds is counted all the same.
        limits.check_frames(max(1, tracks[0].frames), (tracks[0].width, tracks[0].height), parameter)
        recording = AudioBuffer(parameter, limits)
        upright: list[Image.Image] = []
        used: list[VideoStream | AudioStream] = [tracks[0], *container.streams.audio[:1]]
        for frame in decode_frames(container, used, parameter=parameter, duration=declared_duration(container, data)):
            if isinstance(frame, AudioFrame):
                recording.add(frame)
            else:
                limits.check_frames(len(upright) + 1, (frame.width, frame.height), parameter)
                limits.check_seconds(frame.time or 0.0, parameter)
                upright.append(_image(frame))
        audio, fps = recording.audio(), float(tracks[0].average_rate or 0)
    if len({image.size for image in upright}) != 1:
        why = "has frames of different sizes" if upright else "has a video without frames"
        raise media_error(parameter, why, VIDEO_HINT)
    return Video(tuple(upright), _valid_fps(fps), audio, _is_valid_fps(fps))


def _array_frames(array: npt.NDArray[Any], parameter: str, limits: MediaLimits) -> tuple[Image.Image, ...]:
    """Return the frames in an array: bytes, or floats from 0 to 1."""
    if array.ndim != FRAME_AXES or array.shape[-1] != CHANNELS:
        raise media_error(parameter, f"is an array of shape {list(array.shape)}", ARRAY_HINT)
    limits.check_frames(len(array), (array.shape[2], array.shape[1]), parameter)
    low, high = float(array.min()), float(array.max())
    largest = 255 if array.dtype.kind in "iu" else 1
    if array.dtype.kind == "b" or low < 0 or high > largest:
        raise media_error(parameter, f"is an array of {array.dtype} with values from {low:g} to {high:g}", ARRAY_HINT)
    scale = 1 if largest > 1 else 255
    return tuple(Image.fromarray(np.rint(frame * scale).astype(np.uint8)) for frame in array)


def _valid_fps(fps: float | None) -> float:
    """Return a frame rate that can be encoded."""
    return fps if fps is not None and _is_valid_fps(fps) else DEFAULT_FPS


def _is_valid_fps(fps: float | None) -> bool:
    return fps is not None and 0 < fps <= MAX_FPS


def _image(frame: VideoFrame) -> Image.Image:
    rotation = ROTATIONS.get(frame.rotation % 360)
    image = Image.fromarray(frame.to_ndarray(format="rgb24"))
    return image if rotation is None else image.transpose(rotation)


def encode(video: Video, output: OutputFormat, metadata: Mapping[str, Any]) -> tuple[bytes, str]:
    """Encode a video to a file with its metadata, and return it with its media type.

    MP4 and WebM include the audio. The frame rate is the requested one or that of the video. H.264 uses 4:2:0 chroma
    subsampling, which all players support; frames with an odd width or height use 4:4:4, which only some support.

    Raises:
        InvalidParameterError: The format is not supported, or the video does not fit it.
        GenerationError: The video has no frames, or frames of different sizes.
    """
    check_output_format(output, "video")
    name = select_format("video", output)
    sizes = {frame.size for frame in video.frames}
    if len(sizes) != 1:
        raise GenerationError(
            f"The model returned a video with {'frames of different sizes' if sizes else 'no frames'}."
        )
    if name in STILLS:
        if len(video.frames) == 1:
            return images.encode(video.frames[0], output, metadata)
        raise InvalidParameterError(
            f"A video of {len(video.frames)} frames cannot be written to one {name} file.", parameter="output_format"
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
    """Encode a video with FFmpeg, to a temporary file, which fast start of MP4 needs."""
    options = {"movflags": "+faststart"} if name == "mp4" else {}
    with TemporaryFolder() as folder:
        path = folder / f"video.{name}"
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
    written = 0
    for index, image in enumerate(video.frames):
        frame = VideoFrame.from_ndarray(np.asarray(image), format="rgb24").reformat(
            format=stream.pix_fmt, dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG
        )
        frame.pts, frame.time_base = index, 1 / rate
        container.mux(stream.encode(frame))
        if audio is not None and isinstance(track, AudioStream):
            # Audio is interleaved with the frames, so that players need not seek.
            last = index + 1 == len(video.frames)
            end = audio.samples.shape[1] if last else int((index + 1) * audio.rate / rate)
            _write_audio(container, track, audio, written, end)
            written = max(written, min(end, audio.samples.shape[1]))
    container.mux(stream.encode(None))
    if isinstance(track, AudioStream):
        container.mux(track.encode(None))


def _image_stream(
    container: OutputContainer, codec: str, size: tuple[int, int], rate: Fraction, quality: int
) -> VideoStream:
    # CRF is 0 to 51 (H.264) or 63 (VP9), lower is better; losses are visible from 13 on.
    options = {"crf": str(round(48 - 0.35 * quality)), **OPTIONS[codec]}
    stream = cast(VideoStream, container.add_stream(codec, rate=rate, options=options))
    stream.width, stream.height = size
    odd = codec == "libx264" and (size[0] % 2 or size[1] % 2)
    stream.pix_fmt = "yuv444p" if odd else "yuv420p"
    context = stream.codec_context
    context.thread_count = os.cpu_count() or 1
    # Without these tags, players guess the colour space from the size.
    context.colorspace, context.color_range = Colorspace.ITU709, ColorRange.MPEG
    context.color_primaries = context.color_trc = BT709
    return stream


def _write_audio(container: OutputContainer, track: AudioStream, audio: Audio, begin: int, end: int) -> None:
    """Encode the samples from ``begin`` to ``end``."""
    samples = np.ascontiguousarray(audio.samples[:, begin:end], np.float32)
    if not samples.size:
        return
    frame = AudioFrame.from_ndarray(np.nan_to_num(samples).clip(-1, 1), format="fltp", layout=LAYOUTS[audio.channels])
    frame.sample_rate, frame.pts, frame.time_base = audio.rate, begin, Fraction(1, audio.rate)
    container.mux(track.encode(frame))
