"""Videos in and out."""

import io
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from octabox.errors import GenerationError, InvalidParameterError, MediaError
from octabox.media import video
from octabox.media.audio import Audio
from octabox.media.audio import encode as encode_audio
from octabox.media.limits import MediaLimits
from octabox.media.video import Video, decode, encode
from octabox.types import OutputFormat

LIMITS = MediaLimits(max_pixels=256 * 256, max_frames=40, max_seconds=6.0, max_video_pixels=64 * 48 * 30)
RED, BLUE = (200, 30, 60), (20, 60, 210)


def tone(seconds: float, rate: int = 44100) -> Audio:
    """Return a sine in two channels."""
    wave = 0.5 * np.sin(2 * np.pi * 440 * np.arange(int(rate * seconds)) / rate)
    return Audio(np.stack([wave, -wave]).astype(np.float32), rate)


def clip(count: int = 12, size: tuple[int, int] = (64, 48), fps: float = 8.0, sound: Audio | None = None) -> Video:
    """Return a video that is red in its first half and blue in its second; no frame is quite like the one before."""
    colours = [RED if index < count / 2 else BLUE for index in range(count)]
    frames = (Image.new("RGB", size, (r, g + 8 * (i % 2), b)) for i, (r, g, b) in enumerate(colours))
    return Video(tuple(frames), fps, sound)


def read(data: bytes, limits: MediaLimits = LIMITS) -> Video:
    """Decode a file as the parameter ``video``."""
    return decode(data, parameter="video", limits=limits)


def written(made: Video, name: str = "mp4", **metadata: Any) -> bytes:
    """Return a video as a file."""
    return encode(made, OutputFormat(name), metadata)[0]


def assert_colour(image: Image.Image, colour: tuple[int, int, int], off: int = 10) -> None:
    """Hold that an image's middle has a colour, up to what compression does to it."""
    found = np.asarray(image)[image.height // 2, image.width // 2]
    assert np.abs(found.astype(int) - colour).max() <= off, found


@pytest.mark.parametrize(
    ("name", "media_type"),
    [("mp4", "video/mp4"), ("webm", "video/webm"), ("gif", "image/gif"), ("webp", "image/webp")],
)
def test_what_is_written_is_read(name: str, media_type: str) -> None:
    """Number, size, pace and colours of the frames come back."""
    content, written_as = encode(clip(), OutputFormat(name), {"model": "demo"})
    found = read(content)

    assert (media_type, 12, (64, 48)) == (written_as, len(found.frames), found.frames[0].size)
    assert 8 == pytest.approx(found.fps, rel=0.01)
    for frame, colour in ((0, RED), (5, RED), (6, BLUE), (11, BLUE)):
        assert_colour(found.frames[frame], colour)


@pytest.mark.parametrize("name", ["mp4", "webm"])
def test_audio(name: str) -> None:
    """The audio track lasts as long as it did, at its own pitch."""
    found = read(written(clip(sound=tone(1.5)), name)).audio

    assert found is not None
    assert ({"mp4": 44100, "webm": 48000}[name], 2) == (found.rate, found.channels)
    assert 1.5 == pytest.approx(found.seconds, abs=0.05)
    strength = np.abs(np.fft.rfft(found.samples[0]))
    assert 440 == pytest.approx(strength.argmax() / found.seconds, abs=5)


@pytest.mark.parametrize("seconds", [0.3, 3.0])
def test_an_audio_of_another_length(seconds: float) -> None:
    """An audio may be shorter or longer than its video."""
    found = read(written(clip(sound=tone(seconds))))

    assert 12 == len(found.frames)
    assert found.audio is not None
    assert seconds == pytest.approx(found.audio.seconds, abs=0.05)


@pytest.mark.parametrize("size", [(33, 17), (64, 47), (63, 48), (1, 1), (2, 2)])
@pytest.mark.parametrize("name", ["mp4", "webm", "gif", "webp"])
def test_every_size_is_kept(name: str, size: tuple[int, int]) -> None:
    """A frame with odd sides is neither cut nor padded."""
    found = read(written(clip(4, size), name))

    assert ([size] * 4, None) == ([frame.size for frame in found.frames], found.audio)
    assert_colour(found.frames[0], RED)


@pytest.mark.parametrize("fps", [0.5, 12.5, 24000 / 1001, 60.0, 240.0])
def test_frame_rates(fps: float) -> None:
    """The frame rate is exact, also where it is no whole number."""
    found = read(written(clip(3, fps=fps)))

    assert 3 == len(found.frames)
    assert fps == pytest.approx(found.fps, rel=1e-4)


def test_the_frame_rate_that_was_asked_for() -> None:
    """A client's frame rate goes before the video's own."""
    assert 20 == read(encode(clip(), OutputFormat("mp4", fps=20), {})[0]).fps


def test_quality_decides_the_size() -> None:
    """A lower quality gives a smaller file."""
    noise = np.random.default_rng(0).integers(0, 255, (3, 64, 64, 3), dtype=np.uint8)
    made = Video(tuple(Image.fromarray(frame) for frame in noise))
    for name in ("mp4", "webm", "webp"):
        low, high = (encode(made, OutputFormat(name, quality), {})[0] for quality in (5, 95))
        assert len(low) < len(high) / 2


def test_an_mp4_plays_while_it_loads() -> None:
    """The index stands before the frames, and every player knows the format of the pixels."""
    content = written(clip())
    with av.open(io.BytesIO(content)) as container:
        stream = container.streams.video[0]
        found = (stream.codec_context.name, stream.pix_fmt)

    assert 0 < content.index(b"moov") < content.index(b"mdat")
    assert ("h264", "yuv420p") == found


def test_formats_of_single_images() -> None:
    """One frame may be a PNG; several are no one file of it."""
    assert "image/png" == encode(clip(1), OutputFormat("png"), {})[1]
    with pytest.raises(InvalidParameterError, match="one png file") as caught:
        encode(clip(3), OutputFormat("png"), {})

    assert "output_format" == caught.value.parameter


def test_a_still_image() -> None:
    """An image is a video of one frame, upright and without transparency."""
    file = io.BytesIO()
    Image.new("RGBA", (8, 4), (9, 9, 9, 0)).save(file, "PNG")
    found = read(file.getvalue())

    assert (1, (8, 4), (255, 255, 255)) == (len(found.frames), found.frames[0].size, found.frames[0].getpixel((0, 0)))


def test_an_apng() -> None:
    """An animated PNG is a video; the image for other programs is no frame of it."""
    file, frames = io.BytesIO(), clip(4).frames
    Image.new("RGB", (64, 48)).save(
        file, "PNG", save_all=True, default_image=True, append_images=frames, duration=[100, 100, 200, 100]
    )
    found = read(file.getvalue())

    assert 5 == len(found.frames)
    assert 10 == pytest.approx(found.fps)
    assert_colour(found.frames[0], RED)
    assert_colour(found.frames[-1], BLUE)


def test_a_video_is_turned_upright() -> None:
    """A phone's note of how it was held is followed: clockwise here, so that the left side comes to the top."""
    half = Image.new("RGB", (64, 32), BLUE)
    half.paste(RED, (0, 0, 32, 32))
    content = written(Video((half,) * 3))
    unturned = bytes.fromhex("00010000 00000000 00000000 00000000 00010000 00000000 00000000 00000000 40000000")
    clockwise = bytes.fromhex("00000000 00010000 00000000 ffff0000 00000000 00000000 00000000 00000000 40000000")
    track = content.index(unturned, content.index(b"tkhd"))
    found = read(content[:track] + clockwise + content[track + len(clockwise) :]).frames[0]

    assert (32, 64) == found.size
    assert_colour(found.crop((0, 0, 32, 30)), RED)


@pytest.mark.parametrize(
    ("frames", "says"), [((), "no frames"), ((Image.new("RGB", (8, 8)), Image.new("RGB", (8, 9))), "different sizes")]
)
def test_what_is_no_video(frames: tuple[Image.Image, ...], says: str) -> None:
    """A model that makes no video is said to."""
    with pytest.raises(GenerationError, match=says):
        encode(Video(frames), OutputFormat(), {})


def test_a_video_that_does_not_fit_its_format() -> None:
    """What an encoder cannot do is an error that names the format."""
    with pytest.raises(InvalidParameterError, match="16386x2 cannot be written as webp") as caught:
        written(clip(2, (16386, 2)), "webp")

    assert "output_format" == caught.value.parameter


MP4, WEBM, GIF = (written(clip(sound=tone(1.5)), name) for name in ("mp4", "webm", "gif"))


@pytest.mark.parametrize("cut", [0, 20, 200, 1000, len(MP4) // 2, len(MP4) - 100, len(MP4) - 1])
def test_a_truncated_mp4(cut: int) -> None:
    """A file that was cut off anywhere is damaged, not a shorter video."""
    with pytest.raises(MediaError, match="'video'"):
        read(MP4[:cut])


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"hello" * 100, "of an unsupported format"),
        (np.random.default_rng(0).bytes(20_000), "of an unsupported format"),
        (b"#EXTM3U\n#EXTINF:1,\nfile:///etc/hostname\n#EXT-X-ENDLIST\n", "of an unsupported format"),
        (b"ffconcat version 1.0\nfile /etc/hostname\n", "of an unsupported format"),
        (WEBM[: len(WEBM) // 2], "truncated"),
        (GIF[: len(GIF) // 2], "is damaged"),
        (encode_audio(tone(0.1), OutputFormat("wav"), {})[0], "has no video"),
        (written(clip(31)), "pixels in all frames"),
        (written(clip(41, (16, 16))), "more than the limit of 40 frames"),
        (written(clip(41, (16, 16)), "gif", x=1)[:-1], "more than the limit of 40 frames"),
        (written(clip(8, (16, 16), fps=1.0)), "longer than the limit of 6 seconds"),
        (written(clip(2, (16, 16), sound=tone(6.5))), "longer than the limit of 6 seconds"),
        (written(clip(2, (256, 258))), "256x258"),
    ],
)
def test_what_cannot_be_read(data: bytes, says: str) -> None:
    """Each file that is no video, is damaged or is too large is an error that names the parameter and says why."""
    with pytest.raises(MediaError, match=says) as caught:
        read(data)

    assert "video" == caught.value.parameter


def test_what_a_file_claims_is_refused_before_it_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A small file of many large frames costs no memory: the count in its header is enough."""
    data, _ = encode(clip(40), OutputFormat(format="mp4"), {})
    monkeypatch.setattr(video, "decode_frames", lambda *_, **__: pytest.fail("The file was decoded"))

    with pytest.raises(MediaError, match="pixels in its frames together"):
        decode(data, parameter="video", limits=LIMITS)
