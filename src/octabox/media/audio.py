"""Read sounds that clients send, and write those that models make."""

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
from octabox.media.containers import SOUNDS, claimed_seconds, frames, opened, unreadable
from octabox.media.formats import QUALITY, check, chosen, media_type_of
from octabox.media.limits import MediaLimits
from octabox.media.metadata.chunks import as_json
from octabox.types import OutputFormat

#: FFmpeg's encoder of each format, and the layout of samples that it takes.
ENCODERS = {"wav": ("pcm_s16le", "s16"), "flac": ("flac", "s16"), "mp3": ("libmp3lame", "s16p")}

#: FFmpeg's name of the arrangement of this many loudspeakers.
LAYOUTS = {1: "mono", 2: "stereo", 3: "2.1", 4: "4.0", 5: "5.0", 6: "5.1", 7: "6.1", 8: "7.1"}

#: The most channels that an MP3 has.
STEREO = 2

#: Values of all channels together that a second of sound may have: two channels at 192 kHz.
MOST_VALUES = 2 * 192_000

#: The largest value of a sample of 16 bits.
FULL = 32767


@dataclass(frozen=True, eq=False)
class Sound:
    """A sound.

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


class Recording:
    """Takes the frames of a sound one after another, as far as the limits go.

    Args:
        parameter: What the sound is for.
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
            MediaError: The sound is too long, or has too many channels.
        """
        # PyAV reads past the end of its memory where a frame has more than eight.
        if frame.layout.nb_channels not in LAYOUTS:
            raise unreadable(self._parameter, f"has {frame.layout.nb_channels} channels, more than {max(LAYOUTS)}")
        if self._resampler is None:
            self._resampler = av.AudioResampler("fltp", frame.layout, frame.sample_rate)
            self._rate = frame.sample_rate
        self._length += frame.samples
        self._limits.check_seconds(self._length / self._rate, self._parameter)
        # Many channels at a high rate fill the memory in less time.
        self._limits.check_seconds(self._length * frame.layout.nb_channels / MOST_VALUES, self._parameter)
        self._pieces += [values(piece) for piece in self._resampler.resample(frame)]

    def sound(self) -> Sound | None:
        """Return the sound; None where there were no samples."""
        if not self._pieces:
            return None
        return Sound(np.clip(np.concatenate(self._pieces, axis=1), -1, 1), self._rate)


def values(frame: AudioFrame) -> npt.NDArray[np.float32]:
    """Return the samples of a frame of planes of floats."""
    return np.asarray(frame.to_ndarray(), np.float32)


def decode(data: bytes, *, parameter: str, limits: MediaLimits) -> Sound:
    """Return the first sound track of a file.

    Raises:
        MediaError: The file holds no sound, is damaged, or is too large or too long.
    """
    with opened(data, parameter=parameter, limits=limits, hint=SOUNDS) as container:
        if not container.streams.audio:
            raise unreadable(parameter, "holds no sound", SOUNDS)
        recording, stream = Recording(parameter, limits), container.streams.audio[0]
        for frame in frames(container, [stream], parameter=parameter, whole=claimed_seconds(container, data)):
            if isinstance(frame, AudioFrame):
                recording.add(frame)
        sound = recording.sound()
    if sound is None:
        raise unreadable(parameter, "holds a sound of no length", SOUNDS)
    return sound


def encode(sound: Sound, output: OutputFormat, metadata: Mapping[str, Any]) -> tuple[bytes, str]:
    """Return a sound as a file, with its metadata as a comment, and the file's media type.

    WAV and FLAC have 16 bits. MP3 knows a few rates and at most two channels: a sound of another rate is resampled to the
    nearest, and one of more channels becomes stereo.

    Raises:
        InvalidParameterError: The format is none that is written, or the sound does not fit it.
        GenerationError: The sound has no length.
    """
    check(output, "audio")
    name = chosen("audio", output)
    if not sound.samples.size:
        raise GenerationError("The model made a sound of no length.")
    if name == "mp3":
        sound = fitted(sound, "libmp3lame")
    if sound.channels not in LAYOUTS:
        raise InvalidParameterError(
            f"A sound of {sound.channels} channels cannot be written as {name}.", parameter="output_format"
        )
    file = io.BytesIO()
    try:
        with av.open(file, "w", format=name) as container:
            if metadata:
                container.metadata["comment"] = as_json(metadata)
            _write(container, sound, name, QUALITY if output.quality is None else output.quality)
    except (av.FFmpegError, ValueError) as error:
        raise InvalidParameterError(
            f"A sound of {sound.channels} channels and {sound.rate} Hz cannot be written as {name}: {error}.",
            parameter="output_format",
        ) from error
    return file.getvalue(), media_type_of(name)


def _write(container: OutputContainer, sound: Sound, name: str, quality: int) -> None:
    codec, layout = ENCODERS[name]
    stream = container.add_stream(codec, rate=sound.rate, layout=LAYOUTS[sound.channels], format=layout)
    if not isinstance(stream, AudioStream):  # what the types of PyAV cannot tell from the codec's name
        raise TypeError
    if name == "mp3":
        # LAME takes the nearest rate that there is.
        stream.codec_context.bit_rate = 1000 * (32 + 2 * quality)
    whole = np.nan_to_num(sound.samples).clip(-1, 1) * FULL
    samples = np.rint(whole).astype(np.int16)
    array = samples if layout.endswith("p") else samples.T.reshape(1, -1)
    frame = AudioFrame.from_ndarray(np.ascontiguousarray(array), format=layout, layout=LAYOUTS[sound.channels])
    frame.sample_rate, frame.pts, frame.time_base = sound.rate, 0, Fraction(1, sound.rate)
    for packet in [*stream.encode(frame), *stream.encode(None)]:
        container.mux(packet)


def fitted(sound: Sound, codec: str) -> Sound:
    """Return a sound at the nearest rate that an encoder takes, with at most two channels."""
    rates = av.Codec(codec, "w").audio_rates or [sound.rate]
    rate = min(rates, key=lambda offered: abs(offered - sound.rate))
    return resampled(with_channels(sound, min(sound.channels, STEREO)), rate)


def resampled(sound: Sound, rate: int) -> Sound:
    """Return a sound with so many samples a second; it lasts as long as before."""
    if rate == sound.rate or not sound.samples.size:
        return replace(sound, rate=rate)
    length = round(sound.samples.shape[1] * rate / sound.rate)
    samples = np.zeros((sound.channels, length), np.float32)
    # One channel at a time, since there may be more than FFmpeg has arrangements for.
    for index, channel in enumerate(np.nan_to_num(sound.samples)):
        line = np.ascontiguousarray(channel, np.float32).reshape(1, -1)
        frame = AudioFrame.from_ndarray(line, format="fltp", layout="mono")
        frame.sample_rate = sound.rate
        resampler = av.AudioResampler("fltp", "mono", rate)
        pieces = [values(piece)[0] for piece in [*resampler.resample(frame), *resampler.resample(None)]]
        made = np.concatenate([*pieces, np.zeros(0, np.float32)])[:length]
        samples[index, : len(made)] = made
    return Sound(samples.clip(-1, 1), rate)


def with_channels(sound: Sound, channels: int) -> Sound:
    """Return a sound with so many channels: the mean of all that there are, in each, where the numbers differ."""
    if channels == sound.channels:
        return sound
    mean = sound.samples.mean(axis=0, keepdims=True, dtype=np.float32)
    return replace(sound, samples=np.repeat(mean, channels, axis=0))
