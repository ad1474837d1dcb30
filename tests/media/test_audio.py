"""Audio in and out."""

import io
import wave
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import pytest

from octabox.errors import GenerationError, InvalidParameterError, MediaError
from octabox.media import audio
from octabox.media.audio import Audio, decode, encode, mix_channels, resample
from octabox.media.limits import MediaLimits
from octabox.types import OutputFormat

LIMITS = MediaLimits(max_seconds=2.0)


def tone(rate: int = 22050, seconds: float = 0.5, channels: int = 2, pitch: float = 440.0) -> Audio:
    """Return a sine of half the full loudness; every second channel is upside down."""
    wave_ = 0.5 * np.sin(2 * np.pi * pitch * np.arange(int(rate * seconds)) / rate)
    return Audio(np.stack([wave_ * (-1) ** channel for channel in range(channels)]).astype(np.float32), rate)


def read(data: bytes, limits: MediaLimits = LIMITS) -> Audio:
    """Decode a file as the parameter ``audio``."""
    return decode(data, parameter="audio", limits=limits)


def written(sound: Audio, name: str = "wav", **metadata: Any) -> bytes:
    """Return an audio as a file."""
    return encode(sound, OutputFormat(name), metadata)[0]


def pitch_of(sound: Audio) -> float:
    """Return the loudest frequency of the first channel, in Hz."""
    strength = np.abs(np.fft.rfft(sound.samples[0]))
    return float(strength.argmax() * sound.rate / sound.samples.shape[1])


def wav_of(samples: npt.NDArray[Any], width: int = 2, channels: int = 1) -> bytes:
    """Return a WAV at 8 kHz, written by Python's own library."""
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setparams((channels, width, 8000, 0, "NONE", "not compressed"))
        out.writeframes(samples.tobytes())
    return file.getvalue()


@pytest.mark.parametrize("name", ["wav", "flac"])
@pytest.mark.parametrize("channels", range(1, 9))
@pytest.mark.parametrize("rate", [16000, 44100])
def test_lossless_formats(name: str, channels: int, rate: int) -> None:
    """Every sample comes back at the true rate, to 16 bits."""
    sound = tone(rate, channels=channels)
    found = read(written(sound, name))

    assert (rate, sound.samples.shape) == (found.rate, found.samples.shape)
    assert np.float32 == found.samples.dtype
    assert np.abs(sound.samples - found.samples).max() < 1e-4


@pytest.mark.parametrize(("rate", "kept"), [(44100, 44100), (16000, 16000), (20000, 22050), (96000, 48000)])
def test_mp3(rate: int, kept: int) -> None:
    """An MP3 has the nearest rate that the format knows, and lasts as long."""
    content, media_type = encode(tone(rate), OutputFormat("mp3"), {})
    found = read(content)

    assert ("audio/mpeg", kept, 2) == (media_type, found.rate, found.channels)
    assert 0.5 == pytest.approx(found.seconds, abs=0.01)
    assert 440 == pytest.approx(pitch_of(found), abs=5)


def test_mp3_has_two_channels_at_most() -> None:
    """Of more than two channels an MP3 holds the mean."""
    assert 2 == read(written(tone(channels=6), "mp3")).channels


def test_quality_decides_the_size() -> None:
    """A lower quality gives a smaller MP3."""
    low, high = (encode(tone(44100), OutputFormat("mp3", quality), {})[0] for quality in (0, 100))

    assert len(low) < len(high) / 2


def test_a_wav_is_a_wav() -> None:
    """Python's own library reads what is written by default."""
    content, media_type = encode(tone(channels=1), OutputFormat(), {"model": "x"})
    with wave.open(io.BytesIO(content)) as file:
        found = (file.getnchannels(), file.getsampwidth(), file.getframerate(), file.getnframes())

    assert ("audio/wav", (1, 2, 22050, 11025)) == (media_type, found)


@pytest.mark.parametrize("name", ["wav", "flac", "mp3"])
def test_metadata_is_inside(name: str) -> None:
    """What an audio was made from stands in its comment."""
    with av.open(io.BytesIO(written(tone(), name, model="demo"))) as container:
        found = {key.lower(): text for key, text in container.metadata.items()}

    assert '{"model": "demo"}' == found["comment"]


def test_values_that_are_no_samples() -> None:
    """What is too loud is cut off, what is no number is silent."""
    sound = Audio(np.tile(np.array([[2.0, -2.0, np.nan, 0.5]], np.float32), 100), 8000)

    assert np.allclose([1, -1, 0, 0.5], read(written(sound)).samples[0, :4], atol=1e-4)


@pytest.mark.parametrize(("width", "kind", "half"), [(1, np.uint8, 192), (2, np.int16, 16384), (4, np.int32, 2**30)])
def test_every_width_is_scaled(width: int, kind: Any, half: int) -> None:
    """Half of what a file can hold is 0.5, however many bits it has."""
    assert np.allclose(0.5, read(wav_of(np.full(800, half, kind), width=width)).samples, atol=0.01)


def test_an_audio_that_fits_no_format() -> None:
    """An audio of many channels is an error that names the format."""
    with pytest.raises(InvalidParameterError, match="9 channels") as caught:
        written(tone(channels=9))

    assert "output_format" == caught.value.parameter


def test_an_audio_of_no_length() -> None:
    """A model that makes nothing is said to."""
    with pytest.raises(GenerationError, match="empty audio"):
        written(Audio(np.zeros((1, 0), np.float32), 8000))


@pytest.mark.parametrize("claimed", [0, 0x7FFFFFFF, 0xFFFFFFFF])
def test_a_wav_out_of_a_pipe(claimed: int) -> None:
    """A program that writes to a pipe cannot know how long its audio will be; it is as long as it is."""
    whole = wav_of(np.full(800, 16384, np.int16))
    found = read(whole[:40] + claimed.to_bytes(4, "little") + whole[44:])

    assert (1, 800) == found.samples.shape


def test_many_channels() -> None:
    """More channels than loudspeakers have arrangements are refused, not read past the end of memory."""
    with pytest.raises(MediaError, match="has 16 channels, more than 8"):
        read(wav_of(np.zeros(16 * 800, np.int16), channels=16))


WAV, FLAC, MP3 = (written(tone(), name) for name in ("wav", "flac", "mp3"))
STREAM = written(tone(48000), "flac")


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "is empty"),
        (b"hello" * 100, "of an unsupported format"),
        (np.random.default_rng(0).bytes(20_000), "of an unsupported format"),
        (b"#EXTM3U\n#EXTINF:1,\nfile:///etc/hostname\n#EXT-X-ENDLIST\n", "of an unsupported format"),
        (b"ffconcat version 1.0\nfile /etc/hostname\n", "of an unsupported format"),
        (wav_of(np.zeros(0, np.int16)), "empty audio track"),
        (WAV[:30], "is damaged"),
        (WAV[:3001], "is damaged"),
        (WAV[:-1], "is damaged"),
        (FLAC[: len(FLAC) // 2], "is damaged"),
        (FLAC[:-10], "is damaged"),
        (MP3[: len(MP3) // 2], "truncated"),
        (written(tone(seconds=2.5)), "longer than the limit of 2 seconds"),
        (written(tone(seconds=1.5, rate=192_000, channels=6), "flac"), "longer than the limit of 2 seconds"),
    ],
)
def test_what_cannot_be_read(data: bytes, says: str) -> None:
    """Each file that is no audio, is damaged or is too long is an error that names the parameter and says why."""
    with pytest.raises(MediaError, match=says) as caught:
        read(data)

    assert "audio" == caught.value.parameter


def test_a_file_that_is_too_large() -> None:
    """The length of the file is looked at first."""
    with pytest.raises(MediaError, match="more than the limit of 10"):
        read(b"x" * 11, MediaLimits(max_bytes=10))


def test_a_long_audio_is_left_early(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a small file that holds a very long audio no more is decoded than is allowed."""
    silence = written(Audio(np.zeros((1, 8000 * 600), np.float32), 8000), "flac")
    seen = []

    def counted(frame: av.AudioFrame) -> npt.NDArray[np.float32]:
        seen.append(frame.samples)
        return np.zeros((1, frame.samples), np.float32)

    monkeypatch.setattr("octabox.media.audio.frame_samples", counted)
    with pytest.raises(MediaError, match="longer than"):
        read(silence)

    assert sum(seen) <= 8000 * 2.5


@pytest.mark.parametrize("rate", [8000, 16000, 44100])
def test_resampled(rate: int) -> None:
    """The pitch and the length in seconds stay, the rate is exact."""
    found = resample(tone(), rate)

    assert (rate, (2, rate // 2)) == (found.rate, found.samples.shape)
    assert 440 == pytest.approx(pitch_of(found), abs=5)


def test_many_channels_are_resampled() -> None:
    """Each channel is resampled by itself, however many there are, and no audio at all stays none."""
    assert (12, 8000) == resample(tone(channels=12), 16000).samples.shape
    assert (2, 0) == resample(Audio(np.zeros((2, 0), np.float32), 8000), 16000).samples.shape


def test_channels() -> None:
    """One channel is repeated; two become their mean, which is silence where they are opposite."""
    mono = tone(channels=1)

    assert np.array_equal(mono.samples[0], mix_channels(mono, 2).samples[1])
    assert (1, 0.0) == (mix_channels(tone(), 1).channels, np.abs(mix_channels(tone(), 1).samples).max())
    assert mono is mix_channels(mono, 1)


def test_a_length_that_is_claimed_is_refused_before_it_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hours of silence in a small file cost no memory: the length in its header is enough."""
    data = written(tone(seconds=3.0), "flac")
    monkeypatch.setattr(audio, "decode_frames", lambda *_, **__: pytest.fail("The file was decoded"))

    with pytest.raises(MediaError, match="longer than the 2 seconds"):
        decode(data, parameter="audio", limits=MediaLimits(max_seconds=2.0))
