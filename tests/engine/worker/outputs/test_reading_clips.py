"""Clips and sounds in every form that pipelines return them in, alone and together."""

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
from octabox.engine.worker.outputs.reading import Reader
from octabox.errors import GenerationError
from octabox.media.audio import Sound
from octabox.types import OutputFormat
from returned import FRAMES, GREY, PIPE, SOUNDS, clip, entry, kinds, read


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
def test_a_clip_in_every_form(value: Any) -> None:
    """Frames in lists, in arrays and in both orders of tensors are the same clip."""
    products, warnings = read(FRAMES, WanPipelineOutput(frames=value))

    assert [("frames", "video")] == kinds(products)
    made = clip(products[0])
    assert 5 == len(made.frames)
    assert ((8, 6), 16.0) == (made.frames[0].size, made.fps)
    assert [] == warnings


def test_several_clips() -> None:
    """Two clips of a call are two things, of one length or of two."""
    same, _ = read(FRAMES, WanPipelineOutput(frames=torch.full((2, 5, 3, 6, 8), 0.5)))
    lists, _ = read(FRAMES, WanPipelineOutput(frames=[[GREY] * 5, [GREY] * 3]))
    arrays, _ = read(FRAMES, WanPipelineOutput(frames=[np.full((5, 6, 8, 3), 0.5), np.full((2, 6, 8, 3), 0.5)]))

    assert [5, 5] == [len(clip(each).frames) for each in same]
    assert [5, 3] == [len(clip(each).frames) for each in lists]
    assert [5, 2] == [len(clip(each).frames) for each in arrays]


def test_a_dark_frame_stays_dark() -> None:
    """The range of numbers is told from the whole clip: a frame near black is not made lighter."""
    frames = np.full((1, 2, 6, 8, 3), 200.0)
    frames[0, 0] = 1.0
    products, _ = read(FRAMES, WanPipelineOutput(frames=frames))

    assert (1, 1, 1) == clip(products[0]).frames[0].getpixel((0, 0))


def test_a_clip_plays_as_its_call_says() -> None:
    """The frames a second come from the request, else from the call."""
    known = entry("video", Field("frames", kind="video"), fps=7)
    asked = Reader(PIPE, known, {"fps": 12}, OutputFormat())
    wished = Reader(PIPE, known, {"fps": 12}, OutputFormat(fps=30))

    assert 12.0 == clip(asked.read(WanPipelineOutput(frames=[[GREY]]))[0]).fps
    assert 30.0 == clip(wished.read(WanPipelineOutput(frames=[[GREY]]))[0]).fps


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
def test_sounds_in_every_form(value: Any, shapes: list[tuple[int, int]]) -> None:
    """Samples, batches of mono and of several channels, and lists of them become sounds at the pipeline's own rate."""
    products, warnings = read(SOUNDS, AudioPipelineOutput(audios=value))
    sounds = [product.value for product in products if isinstance(product.value, Sound)]

    assert shapes == [sound.samples.shape for sound in sounds]
    assert {8_000} == {sound.rate for sound in sounds}
    assert [] == warnings


def test_an_output_tells_its_own_rate() -> None:
    """The rate in an output counts, and is no thing of its own."""
    products, _ = read(SOUNDS, {"audios": np.zeros((1, 9)), "sampling_rate": 22_050, "output_sampling_rate": 24_000})

    assert [("audios", "audio")] == kinds(products)
    assert isinstance(products[0].value, Sound)
    assert 24_000 == products[0].value.rate


def test_a_rate_that_nobody_tells_is_told() -> None:
    """Where nothing says how fast a sound plays, that is a warning."""
    reader = Reader(SimpleNamespace(components={}), SOUNDS, {}, OutputFormat())
    reader.read(AudioPipelineOutput(audios=np.zeros((1, 9))))

    assert 1 == len(reader.warnings)
    assert "44100 samples a second" in reader.warnings[0]


def test_a_sound_that_is_too_loud_is_made_softer() -> None:
    """Samples beyond 1 would be cut off; numbers that are none are told and silent."""
    products, warnings = read(SOUNDS, AudioPipelineOutput(audios=np.array([[0.5, -2.0]])))
    broken, told = read(SOUNDS, AudioPipelineOutput(audios=np.array([[0.5, np.nan, np.inf]])))

    assert isinstance(products[0].value, Sound)
    assert isinstance(broken[0].value, Sound)
    assert [[0.25, -1.0]] == products[0].value.samples.tolist()
    assert 1 == len(warnings)
    assert [[0.5, 0.0, 1.0]] == broken[0].value.samples.tolist()
    assert ["'audios' is damaged: 2 of its 3 numbers are none (NaN or infinite)"] == [
        warning.partition(".")[0] for warning in told
    ]


def test_a_clip_takes_its_sound() -> None:
    """A clip and a sound of one call are one thing; two clips and one sound stay apart."""
    known = entry("video", Field("frames", kind="video"), Field("audio", kind="audio"))
    joined, _ = read(known, LTX2PipelineOutput(frames=[[GREY] * 3], audio=torch.zeros(1, 2, 800)))
    apart, _ = read(known, LTX2PipelineOutput(frames=[[GREY], [GREY]], audio=torch.zeros(1, 2, 800)))

    assert [("frames", "video")] == kinds(joined)
    sound = clip(joined[0]).sound
    assert sound is not None
    assert ((2, 800), 8_000) == (sound.samples.shape, sound.rate)
    assert [("frames", "video"), ("frames", "video"), ("audio", "audio")] == kinds(apart)


def test_a_clip_of_no_frames_is_an_error() -> None:
    """An empty clip is nothing."""
    with pytest.raises(GenerationError, match="nothing in it"):
        read(FRAMES, WanPipelineOutput(frames=np.zeros((1, 0, 6, 8, 3))))
