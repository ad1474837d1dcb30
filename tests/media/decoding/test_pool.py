"""Files are decoded in processes under limits; what a file does to its decoder costs one request."""

from __future__ import annotations

import asyncio
import io
import logging
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from makers.samples import png, sample_audio, sample_image, sample_video
from octabox.errors import MediaError
from octabox.media import audio, video
from octabox.media.decoding import pool as module
from octabox.media.decoding.pool import DecoderPool
from octabox.media.limits import MediaLimits
from octabox.types import OutputFormat


@pytest.fixture(scope="module")
def pool() -> Iterator[DecoderPool]:
    """Return a pool of one decoder."""
    pool = DecoderPool(MediaLimits(), size=1)
    yield pool
    pool.close()


def array_file(array: Any) -> bytes:
    """Return an array as a file."""
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def process_of(pool: DecoderPool) -> int:
    """Return the process of the idle decoder."""
    return pool._decoders[0].pid


async def test_an_image_is_as_the_decoder_has_it(pool: DecoderPool) -> None:
    """An image comes back in RGB and a mask in L, pixel by pixel."""
    image = sample_image(40, 24)

    found = await pool.decode("image", png(image), parameter="image")
    mask = await pool.decode("mask", png(image), parameter="mask_image")

    assert isinstance(found, Image.Image)
    assert image.tobytes() == found.tobytes()
    assert isinstance(mask, Image.Image)
    assert "L" == mask.mode


async def test_a_video_has_its_frames_and_its_audio(pool: DecoderPool) -> None:
    """A video comes back with frames, frame rate and audio; an audio with samples and rate."""
    made = sample_video(32, 32, 5)
    data, _ = video.encode(video.Video(made.frames, 8.0, sample_audio()), OutputFormat(format="mp4"), {})
    expected = video.decode(data, parameter="video", limits=MediaLimits())

    found = await pool.decode("video", data, parameter="video")

    assert isinstance(found, video.Video)
    assert [frame.tobytes() for frame in expected.frames] == [frame.tobytes() for frame in found.frames]
    assert expected.fps == found.fps
    assert expected.audio is not None
    assert found.audio is not None
    assert np.array_equal(expected.audio.samples, found.audio.samples)
    track = await pool.decode(
        "audio", audio.encode(sample_audio(), OutputFormat(format="wav"), {})[0], parameter="audio"
    )
    assert isinstance(track, audio.Audio)
    assert sample_audio().rate == track.rate


@pytest.mark.parametrize("dtype", ["float32", "float16", "int64", "bool"])
async def test_an_array_keeps_shape_and_dtype(pool: DecoderPool, dtype: str) -> None:
    """An array comes back as it was, and may be written to."""
    array = np.arange(24).reshape(2, 3, 4).astype(dtype)

    found = await pool.decode("array", array_file(array), parameter="latents")

    assert isinstance(found, np.ndarray)
    assert np.array_equal(array, found)
    assert array.dtype == found.dtype
    assert found.flags.writeable


@pytest.mark.parametrize("data", [b"nothing", b"\x89PNG\r\n\x1a\n damaged", array_file(np.array([{}], object))])
async def test_a_bad_file_is_the_decoders_own_error(pool: DecoderPool, data: bytes) -> None:
    """The error is that of decoding in the same process, and the decoder stays."""
    await pool.decode("image", png(sample_image()), parameter="image")
    process = process_of(pool)
    for kind in ("image", "video", "audio", "array"):
        with pytest.raises(MediaError) as caught:
            await pool.decode(kind, data, parameter="x")
        assert "x" == caught.value.parameter

    assert process == process_of(pool)


async def test_a_decoder_that_dies_costs_one_file(pool: DecoderPool, caplog: pytest.LogCaptureFixture) -> None:
    """The request gets a typed error, the log one line, and the next file a new process."""
    caplog.set_level(logging.WARNING, "octabox.media")
    await pool.decode("image", png(sample_image()), parameter="image")
    process = process_of(pool)
    os.kill(process, signal.SIGSTOP)
    threading.Timer(0.3, os.kill, (process, signal.SIGSEGV)).start()
    threading.Timer(0.4, os.kill, (process, signal.SIGCONT)).start()

    with pytest.raises(MediaError, match="ends the process that reads it") as caught:
        await pool.decode("image", png(sample_image()), parameter="image")

    assert "image" == caught.value.parameter
    assert ["A decoder ended (signal SIGSEGV)"] == [line.partition(" over")[0] for line in caplog.messages]
    assert isinstance(await pool.decode("image", png(sample_image()), parameter="image"), Image.Image)
    assert process != process_of(pool)


async def test_a_decoder_that_died_while_idle_is_replaced(pool: DecoderPool) -> None:
    """Nobody notices that a decoder has ended while nothing was to be decoded."""
    await pool.decode("image", png(sample_image()), parameter="image")
    process = process_of(pool)
    os.kill(process, signal.SIGKILL)
    await asyncio.to_thread(os.waitid, os.P_PID, process, os.WEXITED | os.WNOWAIT)

    assert isinstance(await pool.decode("image", png(sample_image()), parameter="image"), Image.Image)


@pytest.mark.parametrize("size", [0, 5_000_000])
async def test_a_file_may_take_so_long(size: int) -> None:
    """A file that is not decoded in time is refused, also where its decoder does not even read it, and the process ended."""
    pool = DecoderPool(MediaLimits(), size=1, timeout=4.0)
    with pytest.raises(MediaError):
        await pool.decode("image", b"nothing", parameter="image")
    process = process_of(pool)
    os.kill(process, signal.SIGSTOP)

    with pytest.raises(MediaError, match="longer than the 4 seconds"):
        await asyncio.wait_for(pool.decode("image", png(sample_image()) + bytes(size), parameter="image"), 30)

    assert isinstance(await pool.decode("image", png(sample_image()), parameter="image"), Image.Image)
    assert process != process_of(pool)
    pool.close()


async def test_a_pool_that_is_closed_waits_for_no_file() -> None:
    """A file that is being decoded fails as its process ends."""
    pool = DecoderPool(MediaLimits(), size=1)
    await pool.decode("image", png(sample_image()), parameter="image")
    os.kill(process_of(pool), signal.SIGSTOP)
    work = asyncio.create_task(pool.decode("image", png(sample_image()), parameter="image"))
    await asyncio.sleep(0.1)
    pool.close()

    with pytest.raises(MediaError):
        await asyncio.wait_for(work, 30)


async def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that unpacks to more than a decoder may take is refused; the server holds none of it."""
    monkeypatch.setattr(module, "OVERHEAD", 100 << 20)
    monkeypatch.setattr(module, "BYTES_PER_PIXEL", 0)
    pool = DecoderPool(MediaLimits(max_pixels=1 << 30), size=1)
    large = png(Image.new("RGB", (12_000, 12_000)))

    with pytest.raises(MediaError):
        await pool.decode("image", large, parameter="image")

    assert isinstance(await pool.decode("image", png(sample_image()), parameter="image"), Image.Image)
    pool.close()


async def test_a_decoder_writes_no_file_and_knows_no_secret(pool: DecoderPool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Limits of the process forbid to write, and its environment holds no token."""
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    fresh = DecoderPool(MediaLimits(), size=1)
    await fresh.decode("image", png(sample_image()), parameter="image")
    process = Path(f"/proc/{process_of(fresh)}")

    limits = {line[:25].strip(): line[26:].split()[0] for line in (process / "limits").read_text().splitlines()[1:]}
    assert ("0", "0") == (limits["Max file size"], limits["Max core file size"])
    assert "hf_secret" not in (process / "environ").read_text()
    fresh.close()


async def test_several_files_are_decoded_side_by_side() -> None:
    """No more processes than the size of the pool, whatever is asked for at a time; all end with the pool."""
    pool = DecoderPool(MediaLimits(), size=2)
    files = [png(sample_image(16 + index, 16)) for index in range(12)]
    found = await asyncio.gather(*(pool.decode("image", data, parameter="image") for data in files))

    assert [16 + index for index in range(12)] == [image.width for image in found if isinstance(image, Image.Image)]
    decoders = list(pool._decoders)
    assert 1 <= len(decoders) <= 2
    pool.close()
    assert not any(each.alive for each in decoders)
