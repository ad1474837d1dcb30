"""Videos and audios in all types that pipelines return, alone and together."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from diffusers.pipelines.cosmos.pipeline_cosmos3_omni import Cosmos3OmniPipelineOutput
from diffusers.pipelines.kandinsky6.pipeline_output import Kandinsky6TI2VAPipelineOutput
from diffusers.pipelines.ltx2.image_processor import LTX2VideoHDRProcessor
from diffusers.pipelines.ltx2.pipeline_output import LTX2PipelineOutput
from diffusers.pipelines.pipeline_utils import AudioPipelineOutput
from diffusers.pipelines.wan.pipeline_output import WanPipelineOutput

from octabox.catalog.entries import Field
from octabox.catalog.pipelines import load_catalog
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
def test_videos(value: Any) -> None:
    """Frames in lists, arrays and both layouts of tensors give the same video."""
    outputs, warnings = read(FRAMES, WanPipelineOutput(frames=value))

    assert [("frames", "video")] == kinds(outputs)
    made = as_video(outputs[0])
    assert 5 == len(made.frames)
    assert ((8, 6), 16.0) == (made.frames[0].size, made.fps)
    assert [] == warnings


def test_several_videos() -> None:
    """Two videos of a call are two outputs, of equal or different lengths."""
    same, _ = read(FRAMES, WanPipelineOutput(frames=torch.full((2, 5, 3, 6, 8), 0.5)))
    lists, _ = read(FRAMES, WanPipelineOutput(frames=[[GREY] * 5, [GREY] * 3]))
    arrays, _ = read(FRAMES, WanPipelineOutput(frames=[np.full((5, 6, 8, 3), 0.5), np.full((2, 6, 8, 3), 0.5)]))

    assert [5, 5] == [len(as_video(each).frames) for each in same]
    assert [5, 3] == [len(as_video(each).frames) for each in lists]
    assert [5, 2] == [len(as_video(each).frames) for each in arrays]


def test_a_dark_frame_stays_dark() -> None:
    """The value range is determined from the complete video: a dark frame stays dark."""
    frames = np.full((1, 2, 6, 8, 3), 200.0)
    frames[0, 0] = 1.0
    outputs, _ = read(FRAMES, WanPipelineOutput(frames=frames))

    assert (1, 1, 1) == as_video(outputs[0]).frames[0].getpixel((0, 0))


def test_frame_rates() -> None:
    """The frame rate is that of the request, else that of the call."""
    known = entry("video", Field("frames", kind="video"), fps=7)
    called = OutputParser(PIPE, known, {"fps": 12}, OutputFormat())
    requested = OutputParser(PIPE, known, {"fps": 12}, OutputFormat(fps=30))

    assert 12.0 == as_video(called.parse(WanPipelineOutput(frames=[[GREY]]))[0]).fps
    assert 30.0 == as_video(requested.parse(WanPipelineOutput(frames=[[GREY]]))[0]).fps


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
def test_audios(value: Any, shapes: list[tuple[int, int]]) -> None:
    """Samples, batches of mono and of several channels, and lists of them give audios at the pipeline's sampling rate."""
    outputs, warnings = read(AUDIO, AudioPipelineOutput(audios=value))
    audios = [item.value for item in outputs if isinstance(item.value, Audio)]

    assert shapes == [audio.samples.shape for audio in audios]
    assert {8_000} == {audio.rate for audio in audios}
    assert [] == warnings


def test_an_output_may_have_a_sampling_rate() -> None:
    """The sampling rate in an output is used, and is not an output."""
    outputs, _ = read(AUDIO, {"audios": np.zeros((1, 9)), "sampling_rate": 22_050, "output_sampling_rate": 24_000})

    assert [("audios", "audio")] == kinds(outputs)
    assert isinstance(outputs[0].value, Audio)
    assert 24_000 == outputs[0].value.rate


def test_an_unknown_sampling_rate() -> None:
    """An audio whose sampling rate is not known gives a warning."""
    parser = OutputParser(SimpleNamespace(components={}), AUDIO, {}, OutputFormat())
    parser.parse(AudioPipelineOutput(audios=np.zeros((1, 9))))

    assert 1 == len(parser.warnings)
    assert "44100 Hz is used" in parser.warnings[0]


def test_loud_audios_are_normalized() -> None:
    """Samples beyond 1 are scaled with a warning; NaN is silent, with a warning."""
    outputs, warnings = read(AUDIO, AudioPipelineOutput(audios=np.array([[0.5, -2.0]])))
    broken, broken_warnings = read(AUDIO, AudioPipelineOutput(audios=np.array([[0.5, np.nan, np.inf]])))

    assert isinstance(outputs[0].value, Audio)
    assert isinstance(broken[0].value, Audio)
    assert [[0.25, -1.0]] == outputs[0].value.samples.tolist()
    assert 1 == len(warnings)
    assert [[0.5, 0.0, 1.0]] == broken[0].value.samples.tolist()
    assert ["'audios' is damaged: 2 of its 3 values are NaN or infinite"] == [
        warning.partition(".")[0] for warning in broken_warnings
    ]


def test_a_video_and_its_audio() -> None:
    """A video and an audio are joined; two videos and one audio are separate."""
    known = entry("video", Field("frames", kind="video"), Field("audio", kind="audio"))
    joined, _ = read(known, LTX2PipelineOutput(frames=[[GREY] * 3], audio=torch.zeros(1, 2, 800)))
    separate, _ = read(known, LTX2PipelineOutput(frames=[[GREY], [GREY]], audio=torch.zeros(1, 2, 800)))

    assert [("frames", "video")] == kinds(joined)
    audio = as_video(joined[0]).audio
    assert audio is not None
    assert ((2, 800), 8_000) == (audio.samples.shape, audio.rate)
    assert [("frames", "video"), ("frames", "video"), ("audio", "audio")] == kinds(separate)


def test_a_video_without_frames() -> None:
    """An empty video raises an error."""
    with pytest.raises(GenerationError, match="returned an empty"):
        read(FRAMES, WanPipelineOutput(frames=np.zeros((1, 0, 6, 8, 3))))


def test_channels_of_one_audio() -> None:
    """Two rows are channels where the pipeline documents them so, or where there are not as many videos; else audios."""
    from_docs = load_catalog().pipelines["Cosmos3OmniPipeline"]
    documented = OutputParser(PIPE, from_docs, {}, OutputFormat()).parse(
        Cosmos3OmniPipelineOutput(video=[GREY] * 3, sound=torch.zeros(2, 800))
    )
    known = entry("video", Field("frames", kind="video"), Field("audio", kind="audio"))
    counted, _ = read(known, LTX2PipelineOutput(frames=[[GREY] * 3], audio=torch.zeros(2, 800)))
    batch = load_catalog().pipelines["Kandinsky6TI2VAPipeline"]
    several = OutputParser(PIPE, batch, {}, OutputFormat()).parse(
        Kandinsky6TI2VAPipelineOutput(frames=[[GREY] * 3] * 2, audio=torch.zeros(2, 800))
    )
    more = OutputParser(PIPE, batch, {}, OutputFormat()).parse(
        Kandinsky6TI2VAPipelineOutput(frames=[[GREY] * 3], audio=torch.zeros(2, 800))
    )

    for made in (documented, counted):
        assert ["video"] == [item.kind for item in made]
        audio = as_video(made[0]).audio
        assert audio is not None
        assert (2, 800) == audio.samples.shape
    assert ["video", "video"] == [item.kind for item in several]
    assert {(1, 800)} == {each.audio.samples.shape for each in map(as_video, several) if each.audio}
    assert ["video", "audio", "audio"] == [item.kind for item in more]


def test_linear_light_becomes_srgb_with_a_warning() -> None:
    """What LTX-2's processor for HDR returns is clipped to white and converted as diffusers writes it; npy keeps it."""
    signal = torch.linspace(-1, 0.6, 3 * 5 * 6 * 8).reshape(1, 3, 5, 6, 8)
    light = LTX2VideoHDRProcessor().postprocess_hdr_video(signal, output_type="np")
    outputs, warnings = read(FRAMES, WanPipelineOutput(frames=light))
    raw, silent = read(FRAMES, WanPipelineOutput(frames=light), "npy")

    assert light.max() > 2
    frame = np.asarray(as_video(outputs[0]).frames[0], float)
    clipped = light[0, 0].clip(0, 1)
    srgb = np.where(clipped <= 0.0031308, clipped * 12.92, 1.055 * clipped ** (1 / 2.4) - 0.055)
    assert np.abs(frame - 255 * srgb).max() < 1
    assert ["'frames' has linear light"] == [each[:25] for each in warnings]
    assert [("frames", "array")] == kinds(raw)
    assert [] == silent
