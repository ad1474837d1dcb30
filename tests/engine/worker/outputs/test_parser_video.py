"""Videos and audio in every form that pipelines return them in, alone and together."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from diffusers.pipelines.ltx2.pipeline_output import LTX2PipelineOutput
from diffusers.pipelines.pipeline_utils import AudioPipelineOutput
from diffusers.pipelines.wan.pipeline_output import WanPipelineOutput

from octabox.catalog.entries import Field
from octabox.engine.worker.outputs.parser import OutputParser
from octabox.errors import GenerationError
from octabox.media.audio import Audio
from octabox.types import OutputFormat
from returned import AUDIO, FRAMES, GREY, PIPE, as_video, entry, kinds, read


@pytest.mark.parametrize(
    "value",
    [
        [[GREY] * 5],
        [[[GREY] * 5]],
        np.full((1, 5, 6, 8, 3), 0.5),
        torch.full((1, 5, 3, 6, 8), 0.5),
        torch.full((1, 3, 5, 6, 8), 0.5, dtype=torch.bfloat16),
        torch.full((3, 5, 6, 8), 0.5),
        [torch.full((5, 3, 6, 8), 0.5)],
        [[np.full((6, 8, 3), 0.5)] * 5],
    ],
)
def test_a_video_in_every_form(value: Any) -> None:
    """Frames in lists, in arrays and in both orders of tensors are the same video."""
    products, warnings = read(FRAMES, WanPipelineOutput(frames=value))

    assert [("frames", "video")] == kinds(products)
    made = as_video(products[0])
    assert 5 == len(made.frames)
    assert ((8, 6), 16.0) == (made.frames[0].size, made.fps)
    assert [] == warnings


def test_several_videos() -> None:
    """Two videos of a call are two things, of one length or of two."""
    same, _ = read(FRAMES, WanPipelineOutput(frames=torch.full((2, 5, 3, 6, 8), 0.5)))
    lists, _ = read(FRAMES, WanPipelineOutput(frames=[[GREY] * 5, [GREY] * 3]))
    arrays, _ = read(FRAMES, WanPipelineOutput(frames=[np.full((5, 6, 8, 3), 0.5), np.full((2, 6, 8, 3), 0.5)]))

    assert [5, 5] == [len(as_video(each).frames) for each in same]
    assert [5, 3] == [len(as_video(each).frames) for each in lists]
    assert [5, 2] == [len(as_video(each).frames) for each in arrays]


def test_a_dark_frame_stays_dark() -> None:
    """The range of numbers is told from the whole video: a frame near black is not made lighter."""
    frames = np.full((1, 2, 6, 8, 3), 200.0)
    frames[0, 0] = 1.0
    products, _ = read(FRAMES, WanPipelineOutput(frames=frames))

    assert (1, 1, 1) == as_video(products[0]).frames[0].getpixel((0, 0))


def test_a_video_plays_as_its_call_says() -> None:
    """The frames a second come from the request, else from the call."""
    known = entry("video", Field("frames", kind="video"), fps=7)
    asked = OutputParser(PIPE, known, {"fps": 12}, OutputFormat())
    wished = OutputParser(PIPE, known, {"fps": 12}, OutputFormat(fps=30))

    assert 12.0 == as_video(asked.read(WanPipelineOutput(frames=[[GREY]]))[0]).fps
    assert 30.0 == as_video(wished.read(WanPipelineOutput(frames=[[GREY]]))[0]).fps


@pytest.mark.parametrize(
    ("value", "shapes"),
    [
        (np.zeros(100), [(1, 100)]),
        (np.zeros((2, 100)), [(1, 100)] * 2),
        (torch.zeros(2, 2, 100, dtype=torch.float16), [(2, 100)] * 2),
        ([torch.zeros(2, 100)], [(2, 100)]),
        ([np.zeros(100), np.zeros(50)], [(1, 100), (1, 50)]),
        ([np.zeros((1, 2, 100))], [(2, 100)]),
    ],
)
def test_audios_in_every_form(value: Any, shapes: list[tuple[int, int]]) -> None:
    """Samples, batches of mono and of several channels, and lists of them become audio at the pipeline's own rate."""
    products, warnings = read(AUDIO, AudioPipelineOutput(audios=value))
    sounds = [product.value for product in products if isinstance(product.value, Audio)]

    assert shapes == [sound.samples.shape for sound in sounds]
    assert {8_000} == {sound.rate for sound in sounds}
    assert [] == warnings


def test_an_output_tells_its_own_rate() -> None:
    """The rate in an output counts, and is no thing of its own."""
    products, _ = read(AUDIO, {"audios": np.zeros((1, 9)), "sampling_rate": 22_050, "output_sampling_rate": 24_000})

    assert [("audios", "audio")] == kinds(products)
    assert isinstance(products[0].value, Audio)
    assert 24_000 == products[0].value.rate


def test_a_rate_that_nobody_tells_is_told() -> None:
    """Where nothing says how fast an audio plays, that is a warning."""
    reader = OutputParser(SimpleNamespace(components={}), AUDIO, {}, OutputFormat())
    reader.read(AudioPipelineOutput(audios=np.zeros((1, 9))))

    assert 1 == len(reader.warnings)
    assert "44100 samples a second" in reader.warnings[0]


def test_an_audio_that_is_too_loud_is_made_softer() -> None:
    """Samples beyond 1 would be cut off; numbers that are none are told and silent."""
    products, warnings = read(AUDIO, AudioPipelineOutput(audios=np.array([[0.5, -2.0]])))
    broken, told = read(AUDIO, AudioPipelineOutput(audios=np.array([[0.5, np.nan, np.inf]])))

    assert isinstance(products[0].value, Audio)
    assert isinstance(broken[0].value, Audio)
    assert [[0.25, -1.0]] == products[0].value.samples.tolist()
    assert 1 == len(warnings)
    assert [[0.5, 0.0, 1.0]] == broken[0].value.samples.tolist()
    assert ["'audios' is damaged: 2 of its 3 numbers are none (NaN or infinite)"] == [
        warning.partition(".")[0] for warning in told
    ]


def test_a_video_takes_its_audio() -> None:
    """A video and an audio of one call are one thing; two videos and one audio stay apart."""
    known = entry("video", Field("frames", kind="video"), Field("audio", kind="audio"))
    joined, _ = read(known, LTX2PipelineOutput(frames=[[GREY] * 3], audio=torch.zeros(1, 2, 800)))
    apart, _ = read(known, LTX2PipelineOutput(frames=[[GREY], [GREY]], audio=torch.zeros(1, 2, 800)))

    assert [("frames", "video")] == kinds(joined)
    sound = as_video(joined[0]).audio
    assert sound is not None
    assert ((2, 800), 8_000) == (sound.samples.shape, sound.rate)
    assert [("frames", "video"), ("frames", "video"), ("audio", "audio")] == kinds(apart)


def test_a_video_of_no_frames_is_an_error() -> None:
    """An empty video is nothing."""
    with pytest.raises(GenerationError, match="nothing in it"):
        read(FRAMES, WanPipelineOutput(frames=np.zeros((1, 0, 6, 8, 3))))
