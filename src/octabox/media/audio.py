"""Read audio that clients send, and write those that models make."""

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
from octabox.media.containers import AUDIO, declared_duration, decode_frames, media_error, open_container
from octabox.media.formats import QUALITY, check_output_format, media_type_of, select_format
from octabox.media.limits import MediaLimits
from octabox.media.metadata.chunks import as_json
from octabox.types import OutputFormat

#: FFmpeg's encoder of each format, and the layout of samples that it takes.
ENCODERS = {"wav": ("pcm_s16le", "s16"), "flac": ("flac", "s16"), "mp3": ("libmp3lame", "s16p")}

#: FFmpeg's name of the arrangement of this many loudspeakers.
LAYOUTS = {1: "mono", 2: "stereo", 3: "2.1", 4: "4.0", 5: "5.0", 6: "5.1", 7: "6.1", 8: "7.1"}

#: The most channels that an MP3 has.
STEREO = 2

#: Values of all channels together that a second of audio may have where it lasts as long as it may: two channels at 48 kHz.
MAX_VALUES = 2 * 48_000

#: The largest value of a sample of 16 bits.
FULL = 32767


@dataclass(frozen=True, eq=False)
class Audio:
    """An audio.

    Args:
        samples: float32 of shape (channels, length), in [-1, 1].
        rate: Samples a second.
    """

    samples: npt.NDArray[np.float32]
    rate: int

    @property
    def channels(self) -> int:
        """How many channels there are."""
        return int(self.samples.shape[0])

    @property
    def seconds(self) -> float:
        """How long it lasts."""
        return float(self.samples.shape[1] / self.rate)


class AudioBuffer:
    """Takes the frames of an audio one after another, as far as the limits go.

    Args:
        parameter: What the audio is for.
        limits: How long it may be.
    """

    def __init__(self, parameter: str, limits: MediaLimits) -> None:
        self._parameter, self._limits = parameter, limits
        self._pieces: list[npt.NDArray[np.float32]] = []
        self._length = self._rate = 0
        self._resampler: av.AudioResampler | None = None

    def add(self, frame: AudioFrame) -> None:
        """Take a frame.

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
        # Many channels at a high rate fill the memory in less time.
        self._limits.check_seconds(self._length * frame.layout.nb_channels / MAX_VALUES, self._parameter)
        self._pieces += [frame_samples(piece) for piece in self._resampler.resample(frame)]

    def audio(self) -> Audio | None:
        """Return the audio; None where there were no samples."""
        if not self._pieces:
            return None
        return Audio(np.clip(np.concatenate(self._pieces, axis=1), -1, 1), self._rate)


def frame_samples(frame: AudioFrame) -> npt.NDArray[np.float32]:
    """Return the samples of a frame of packed floats, of shape (channels, length).

    Packed, since PyAV reads past the end of its memory if a frame has eight planes or more.
    """
    return np.asarray(frame.to_ndarray(), np.float32).reshape(-1, frame.layout.nb_channels).T


def decode(data: bytes, *, parameter: str, limits: MediaLimits) -> Audio:
    """Return the first audio track of a file.

    Raises:
        MediaError: The file holds no audio, is damaged, or is too large or too long.
    """
    with open_container(data, parameter=parameter, limits=limits, hint=AUDIO) as container:
        if not container.streams.audio:
            raise media_error(parameter, "holds no audio", AUDIO)
        # What a file claims is refused before it is decoded; what it holds is counted all the same.
        limits.check_seconds((container.duration or 0) / av.time_base, parameter)
        recording, stream = AudioBuffer(parameter, limits), container.streams.audio[0]
        for frame in decode_frames(container, [stream], parameter=parameter, whole=declared_duration(container, data)):
            if isinstance(frame, AudioFrame):
                recording.add(frame)
        audio = recording.audio()
    if audio is None:
        raise media_error(parameter, "holds an audio of no length", AUDIO)
    return audio


def encode(audio: Audio, output: OutputFormat, metadata: Mapping[str, Any]) -> tuple[bytes, str]:
    """Return an audio as a file, with its metadata as a comment, and the file's media type.

    WAV and FLAC have 16 bits. MP3 knows a few rates and at most two channels: an audio of another rate is resampled to the
    nearest, and one of more channels becomes stereo.

    Raises:
        InvalidParameterError: The format is none that is written, or the audio does not fit it.
        GenerationError: The audio has no length.
    """
    check_output_format(output, "audio")
    name = select_format("audio", output)
    if not audio.samples.size:
        raise GenerationError("The model made an audio of no length.")
    if name == "mp3":
        audio = fit_to_encoder(audio, "libmp3lame")
    if audio.channels not in LAYOUTS:
        raise InvalidParameterError(
            f"An audio of {audio.channels} channels cannot be written as {name}.", parameter="output_format"
        )
    file = io.BytesIO()
    try:
        with av.open(file, "w", format=name) as container:
            if metadata:
                container.metadata["comment"] = as_json(metadata)
            _write(container, audio, name, QUALITY if output.quality is None else output.quality)
    except (av.FFmpegError, ValueError) as error:
        raise InvalidParameterError(
            f"An audio of {audio.channels} channels and {audio.rate} Hz cannot be written as {name}: {error}.",
            parameter="output_format",
        ) from error
    return file.getvalue(), media_type_of(name)


def _write(container: OutputContainer, audio: Audio, name: str, quality: int) -> None:
    codec, layout = ENCODERS[name]
    stream = container.add_stream(codec, rate=audio.rate, layout=LAYOUTS[audio.channels], format=layout)
    if not isinstance(stream, AudioStream):  # what the types of PyAV cannot tell from the codec's name
        raise TypeError
    if name == "mp3":
        # LAME takes the nearest rate that there is.
        stream.codec_context.bit_rate = 1000 * (32 + 2 * quality)
    whole = np.nan_to_num(audio.samples).clip(-1, 1) * FULL
    samples = np.rint(whole).astype(np.int16)
    array = samples if layout.endswith("p") else samples.T.reshape(1, -1)
    frame = AudioFrame.from_ndarray(np.ascontiguousarray(array), format=layout, layout=LAYOUTS[audio.channels])
    frame.sample_rate, frame.pts, frame.time_base = audio.rate, 0, Fraction(1, audio.rate)
    for packet in [*stream.encode(frame), *stream.encode(None)]:
        container.mux(packet)


def fit_to_encoder(audio: Audio, codec: str) -> Audio:
    """Return an audio at the nearest rate that an encoder takes, with at most two channels."""
    rates = av.Codec(codec, "w").audio_rates or [audio.rate]
    rate = min(rates, key=lambda offered: abs(offered - audio.rate))
    return resample(mix_channels(audio, min(audio.channels, STEREO)), rate)


def resample(audio: Audio, rate: int) -> Audio:
    """Return an audio with so many samples a second; it lasts as long as before."""
    if rate == audio.rate or not audio.samples.size:
        return replace(audio, rate=rate)
    length = round(audio.samples.shape[1] * rate / audio.rate)
    samples = np.zeros((audio.channels, length), np.float32)
    # One channel at a time, since there may be more than FFmpeg has arrangements for.
    for index, channel in enumerate(np.nan_to_num(audio.samples)):
        line = np.ascontiguousarray(channel, np.float32).reshape(1, -1)
        frame = AudioFrame.from_ndarray(line, format="flt", layout="mono")
        frame.sample_rate = audio.rate
        resampler = av.AudioResampler("flt", "mono", rate)
        pieces = [frame_samples(piece)[0] for piece in [*resampler.resample(frame), *resampler.resample(None)]]
        made = np.concatenate([*pieces, np.zeros(0, np.float32)])[:length]
        samples[index, : len(made)] = made
    return Audio(samples.clip(-1, 1), rate)


def mix_channels(audio: Audio, channels: int) -> Audio:
    """Return an audio with so many channels: the mean of all that there are, in each, where the numbers differ."""
    if channels == audio.channels:
        return audio
    mean = audio.samples.mean(axis=0, keepdims=True, dtype=np.float32)
    return replace(audio, samples=np.repeat(mean, channels, axis=0))
