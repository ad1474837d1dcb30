"""Sampling rates and frame rates of outputs, by the request, the output or the components."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from PIL import Image

import makers
from octabox.catalog.entries import Parameter, PipelineEntry
from octabox.catalog.pipelines import load_catalog
from octabox.engine.worker.outputs.rates import FPS, frame_rate, sampling_rate
from octabox.media.video import Video
from octabox.types import OutputFormat


def part(**settings: Any) -> SimpleNamespace:
    """Return a component with a configuration of diffusers."""
    return SimpleNamespace(config=settings)


def pipe(**components: Any) -> SimpleNamespace:
    """Return a pipeline of these components."""
    return SimpleNamespace(components=components)


@pytest.mark.parametrize(
    "value", [22_050, 22_050.0, torch.tensor(22_050), torch.tensor([22_050]), np.array([22_050]), np.int64(22_050)]
)
def test_an_output_may_hold_its_rate_itself(value: Any) -> None:
    """A field of the output has priority, as a number or a tensor of one."""
    speaker = pipe(vocoder=part(sampling_rate=16_000))

    assert 22_050 == sampling_rate(speaker, {"audio": torch.zeros(1, 9), "sampling_rate": value})


@pytest.mark.parametrize("value", [None, 0, -1, True, torch.tensor([1, 2]), "fast"])
def test_a_field_that_tells_nothing_leaves_it_to_the_components(value: Any) -> None:
    """Values that are not rates are ignored."""
    speaker = pipe(vocoder=part(sampling_rate=16_000))

    assert 16_000 == sampling_rate(speaker, {"sampling_rate": value})


@pytest.mark.parametrize("setting", ["sampling_rate", "sample_rate", "output_sampling_rate"])
def test_a_components_configuration_tells_the_rate(setting: str) -> None:
    """All usual names of the setting are supported."""
    assert 44_100 == sampling_rate(pipe(vae=part(**{setting: 44_100}), scheduler=None), {})


def test_what_touches_an_audio_last_decides() -> None:
    """A vocoder is preferred to an autoencoder, and its output rate to its input rate."""
    raising = part(input_sampling_rate=16_000, sampling_rate=24_000, output_sampling_rate=48_000)

    assert 48_000 == sampling_rate(pipe(audio_vae=part(sampling_rate=16_000), vocoder=raising), {})
    assert 24_000 == sampling_rate(pipe(vae=part(sampling_rate=16_000), vocoder=part(sampling_rate=24_000)), {})


def test_what_hears_is_asked_last() -> None:
    """A feature extractor has the rate of its input, and is used last."""
    listener = transformers.ClapFeatureExtractor()

    assert 16_000 == sampling_rate(pipe(feature_extractor=listener, vae=part(sampling_rate=16_000)), {})
    assert listener.sampling_rate == sampling_rate(pipe(feature_extractor=listener), {})


def test_a_component_of_transformers_tells_the_rate() -> None:
    """The vocoder of a pipeline is a model of transformers, whose configuration is not a mapping."""
    spoken = makers.pipelines()["AudioLDMPipeline"].make()

    assert spoken.vocoder.config.sampling_rate == sampling_rate(spoken, {})


def test_nothing_says_the_rate() -> None:
    """Without a setting the rate is not known."""
    assert sampling_rate(pipe(vae=part(latent_channels=4), tokenizer=object(), nothing=None), {}) is None


def entry(**defaults: Any) -> PipelineEntry:
    """Return a catalog entry for a pipeline with these parameters."""
    parameters = tuple(Parameter(name, default=value) for name, value in defaults.items())
    return PipelineEntry("OnePipeline", "one", "one", parameters=parameters)


def test_the_request_decides_how_fast_a_video_plays() -> None:
    """It is that of the request, of the call's parameter, its default, or 16, in this order."""
    spoken = entry(frame_rate=24.0)

    assert 30.0 == frame_rate(OutputFormat(fps=30), {"frame_rate": 12}, spoken)
    assert 12.0 == frame_rate(OutputFormat(), {"frame_rate": 12}, spoken)
    assert 24.0 == frame_rate(OutputFormat(), {}, spoken)
    assert FPS == frame_rate(OutputFormat(), {}, entry(num_frames=9)) == 16.0


def test_a_rate_that_is_none_is_passed_over() -> None:
    """A default or parameter that is None, an expression or zero is ignored."""
    later = Parameter("fps", default="LATER", literal=False)
    calculated = PipelineEntry("OnePipeline", "one", "one", parameters=(later,))

    assert FPS == frame_rate(OutputFormat(), {}, calculated)
    assert FPS == frame_rate(OutputFormat(), {}, entry(fps=None))
    assert FPS == frame_rate(OutputFormat(), {"fps": 0}, entry(fps=0))
    assert 24.0 == frame_rate(OutputFormat(), {"fps": None}, entry(fps=7, frame_rate=24))
    assert 24.0 == frame_rate(OutputFormat(), {}, entry(fps=None, frame_rate=24))


def clip(fps: float, *, is_timed: bool = True) -> Video:
    """Return a video of two frames."""
    return Video((Image.new("RGB", (8, 8)),) * 2, fps, is_timed=is_timed)


def test_a_video_keeps_the_speed_of_its_source() -> None:
    """Without a parameter, the rate is that of the input video, also of several that agree, or of one in a list."""
    silent = replace(entry(num_frames=9), frame_rate=8.0)

    assert 25.0 == frame_rate(OutputFormat(), {}, silent, {"video": (clip(25),)})
    assert 25.0 == frame_rate(OutputFormat(), {}, silent, {"video": ([clip(25), None],), "mask": (clip(25),)})
    assert 24.0 == frame_rate(OutputFormat(), {}, entry(fps=24), {"video": (clip(25),)})
    assert 30.0 == frame_rate(OutputFormat(fps=30), {}, silent, {"video": (clip(25),)})


def test_the_example_tells_the_rate_of_a_model() -> None:
    """It is used where no input video has a rate: there is none, it is images, or several differ."""
    silent = replace(entry(num_frames=9), frame_rate=8.0)

    assert 8.0 == frame_rate(OutputFormat(), {}, silent)
    assert 8.0 == frame_rate(OutputFormat(), {}, silent, {"video": (clip(16, is_timed=False),)})
    assert 8.0 == frame_rate(OutputFormat(), {}, silent, {"video": (clip(25),), "face": (clip(30),)})
    assert 8.0 == frame_rate(OutputFormat(), {}, silent, {"image": (Image.new("RGB", (8, 8)),)})


def test_a_rate_of_the_input_increases_with_its_frames() -> None:
    """A round of LTX-2 that doubles the frames doubles the rate that it is told, since the video stays as long."""
    known = load_catalog().pipelines["LTX2DFRTemporalRefinePipeline"]
    ordinary = load_catalog().pipelines["LTX2Pipeline"]

    assert 48.0 == frame_rate(OutputFormat(), {}, known, {}, 241)
    assert 20.0 == frame_rate(OutputFormat(), {"frame_rate": 10.0, "num_frames": 9}, known, {}, 17)
    assert 10.0 == frame_rate(OutputFormat(), {"frame_rate": 10.0, "num_frames": 9}, ordinary, {}, 17)
