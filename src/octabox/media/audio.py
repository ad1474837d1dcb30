"""Decode input audio and encode output audio."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import av
import numpy as np
import numpy.typing as npt
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import OutputContainer

from octabox.errors import GenerationError, InvalidParameterError
from octabox.media.containers import AUDIO_HINT, declared_duration, decode_frames, media_error, open_container
from octabox.media.formats import QUALITY, check_output_format, media_type_of, select_format
from octabox.media.limits import MediaLimits
from octabox.media.metadata.chunks import as_json
from octabox.types import OutputFormat

#: FFmpeg encoder and sample format of each audio format.
ENCODERS = {"wav": ("pcm_s16le", "s16"), "flac": ("flac", "s16"), "mp3": ("libmp3lame", "s16p")}

#: FFmpeg channel layouts by number of channels.
LAYOUTS = {1: "mono", 2: "stereo", 3: "2.1", 4: "4.0", 5: "5.0", 6: "5.1", 7: "6.1", 8: "7.1"}

#: Maximum number of channels of an MP3.
STEREO = 2

#: Maximum number of values per second over all channels, if the audio has the maximum length: two channels at 48 kHz.
MAX_VALUE_RATE = 2 * 48_000

#: Largest value of a 16-bit sample.
MAX_SAMPLE = 32767


@dataclass(frozen=True, eq=False)
class Audio:
    """Audio samples.

    Args:
        samples: float32 array of shape (channels, length), in [-1, 1].
        rate: Sample rate in Hz.
    """

    samples: npt.NDArray[np.float32]
    rate: int

    @property
    def channels(self) -> int:
        """Number of channels."""
        return int(self.samples.shape[0])

    @property
    def seconds(self) -> float:
        """Duration in seconds."""
        return float(self.samples.shape[1] / self.rate)


class AudioBuffer:
    """Collects audio frames within limits.

    Args:
        parameter: Name of the call parameter, for errors.
        limits: Limits of the input.
    """

    def __init__(self, parameter: str, limits: MediaLimits) -> None:
        self._parameter, self._limits = parameter, limits
        self._chunks: list[npt.NDArray[np.float32]] = []
        self._length = self._rate = 0
        self._resampler: av.AudioResampler | None = None

    def add(self, frame: AudioFrame) -> None:
        """Add a frame.

        Raises:
            MediaError: The audio is too long, or has too many channels.
        """
        if frame.layout.nb_channels not in LAYOUTS:
            raise media_error(self._parameter, f"has {frame.layout.nb_channels} channels, more than {max(LAYOUTS)}")
        if self._resampler is None:
            self._resampler = av.AudioResampler("flt", frame.layout, frame.sample_rate)
            self._rate = frame.sample_rate
        self._length += frame.samples
        self._limits.check_seconds(self._length / self._rate, self._parameter)
        # Many channels at a high rate need more memory per second.
        self._limits.check_seconds(self._length * frame.layout.nb_channels / MAX_VALUE_RATE, self._parameter)
        self._chunks += [frame_samples(chunk) for chunk in self._resampler.resample(frame)]

    def audio(self) -> Audio | None:
        """Return the audio; None if there were no samples."""
        if not self._chunks:
            return None
        return Audio(np.clip(np.concatenate(self._chunks, axis=1), -1, 1), self._rate)


def frame_samples(frame: AudioFrame) -> npt.NDArray[np.float32]:
    """Return the samples of a frame of packed floats, of shape (channels, length).

    Packed, since PyAV reads past the end of its memory if a frame has eight planes or more.
    """
    samples: npt.NDArray[np.float32] = (
        np.asarray(frame.to_ndarray(), np.float32).reshape(-1, frame.layout.nb_channels).T
    )
    return samples


def decode(data: bytes, *, parameter: str, limits: MediaLimits) -> Audio:
    """Decode the first audio track of a file.

    Raises:
        MediaError: The file has no audio, is damaged, or exceeds a limit.
    """
    with open_container(data, parameter=parameter, limits=limits, hint=AUDIO_HINT) as container:
        if not container.streams.audio:
            raise media_error(parameter, "has no audio", AUDIO_HINT)
        # What a file claims is refused before it is decoded; what it holds is counted all the same.
        limits.check_seconds((container.duration or 0) / av.time_base, parameter)
        recording, stream = AudioBuffer(parameter, limits), container.streams.audio[0]
        for frame in decode_frames(
            container, [stream], parameter=parameter, duration=declared_duration(container, data)
        ):
            if isinstance(frame, AudioFrame):
                recording.add(frame)
        audio = recording.audio()
    if audio is None:
        raise media_error(parameter, "has an empty audio track", AUDIO_HINT)
    return audio


def encode(audio: Audio, output: OutputFormat, metadata: Mapping[str, Any]) -> tuple[bytes, str]:
    """Encode audio to a file with its metadata as a comment, and return it with its media type.

    WAV and FLAC have 16 bits. MP3 supports a few sample rates and two channels: other rates are resampled to the nearest one,
    and more channels are mixed to stereo.

    Raises:
        InvalidParameterError: The format is not supported, or the audio does not fit it.
        GenerationError: The audio is empty.
    """
    check_output_format(output, "audio")
    name = select_format("audio", output)
    if not audio.samples.size:
        raise GenerationError("The model returned empty audio.")
    if name == "mp3":
        audio = fit_to_encoder(audio, "libmp3lame")
    if audio.channels not in LAYOUTS:
        raise InvalidParameterError(
            f"Audio with {audio.channels} channels cannot be written as {name}.", parameter="output_format"
        )
    file = io.BytesIO()
    try:
        with av.open(file, "w", format=name) as container:
            if metadata:
                container.metadata["comment"] = as_json(metadata)
            _write(container, audio, name, QUALITY if output.quality is None else output.quality)
    except (av.FFmpegError, ValueError) as error:
        raise InvalidParameterError(
            f"Audio with {audio.channels} channels and {audio.rate} Hz cannot be written as {name}: {error}.",
            parameter="output_format",
        ) from error
    return file.getvalue(), media_type_of(name)


def _write(container: OutputContainer, audio: Audio, name: str, quality: int) -> None:
    codec, layout = ENCODERS[name]
    stream = container.add_stream(codec, rate=audio.rate, layout=LAYOUTS[audio.channels], format=layout)
    if not isinstance(stream, AudioStream):  # PyAV's types do not follow from the codec name
        raise TypeError
    if name == "mp3":
        # LAME rounds to the nearest bit rate.
        stream.codec_context.bit_rate = 1000 * (32 + 2 * quality)
    scaled = np.nan_to_num(audio.samples).clip(-1, 1) * MAX_SAMPLE
    samples = np.rint(scaled).astype(np.int16)
    array = samples if layout.endswith("p") else samples.T.reshape(1, -1)
    frame = AudioFrame.from_ndarray(np.ascontiguousarray(array), format=layout, layout=LAYOUTS[audio.channels])
    frame.sample_rate, frame.pts, frame.time_base = audio.rate, 0, Fraction(1, audio.rate)
    for packet in [*stream.encode(frame), *stream.encode(None)]:
        container.mux(packet)


def fit_to_encoder(audio: Audio, codec: str) -> Audio:
    """Convert audio to the nearest sample rate of an encoder, and to at most two channels."""
    rates = av.Codec(codec, "w").audio_rates or [audio.rate]
    rate = min(rates, key=lambda supported: abs(supported - audio.rate))
    return resample(mix_channels(audio, min(audio.channels, STEREO)), rate)


def resample(audio: Audio, rate: int) -> Audio:
    """Resample audio to a sample rate."""
    if rate == audio.rate or not audio.samples.size:
        return replace(audio, rate=rate)
    length = round(audio.samples.shape[1] * rate / audio.rate)
    samples = np.zeros((audio.channels, length), np.float32)
    # One channel at a time, since FFmpeg has layouts for eight channels only.
    for index, channel in enumerate(np.nan_to_num(audio.samples)):
        plane = np.ascontiguousarray(channel, np.float32).reshape(1, -1)
        frame = AudioFrame.from_ndarray(plane, format="flt", layout="mono")
        frame.sample_rate = audio.rate
        resampler = av.AudioResampler("flt", "mono", rate)
        chunks = [frame_samples(chunk)[0] for chunk in [*resampler.resample(frame), *resampler.resample(None)]]
        result = np.concatenate([*chunks, np.zeros(0, np.float32)])[:length]
        samples[index, : len(result)] = result
    return Audio(samples.clip(-1, 1), rate)


def mix_channels(audio: Audio, channels: int) -> Audio:
    """Convert audio to a number of channels; if the number changes, each channel is the mean of all."""
    if channels == audio.channels:
        return audio
    mean = audio.samples.mean(axis=0, keepdims=True, dtype=np.float32)
    return replace(audio, samples=np.repeat(mean, channels, axis=0))
