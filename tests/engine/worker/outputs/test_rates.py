"""How fast an output plays: told by the request, the output, or the components that make it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import transformers

import makers
from octabox.catalog.entries import Parameter, PipelineEntry
from octabox.engine.worker.outputs.rates import FPS, frame_rate, sampling_rate
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
    """A field of the output is the surest; it may be a number or a tensor of one."""
    speaker = pipe(vocoder=part(sampling_rate=16_000))

    assert 22_050 == sampling_rate(speaker, {"audio": torch.zeros(1, 9), "sampling_rate": value})


@pytest.mark.parametrize("value", [None, 0, -1, True, torch.tensor([1, 2]), "fast"])
def test_a_field_that_tells_nothing_leaves_it_to_the_components(value: Any) -> None:
    """What is no rate is passed over."""
    speaker = pipe(vocoder=part(sampling_rate=16_000))

    assert 16_000 == sampling_rate(speaker, {"sampling_rate": value})


@pytest.mark.parametrize("setting", ["sampling_rate", "sample_rate", "output_sampling_rate"])
def test_a_components_configuration_tells_the_rate(setting: str) -> None:
    """Every usual spelling of the setting is known."""
    assert 44_100 == sampling_rate(pipe(vae=part(**{setting: 44_100}), scheduler=None), {})


def test_what_touches_an_audio_last_decides() -> None:
    """A vocoder goes before an autoencoder, and the rate that it gives before the one that it takes."""
    raising = part(input_sampling_rate=16_000, sampling_rate=24_000, output_sampling_rate=48_000)

    assert 48_000 == sampling_rate(pipe(audio_vae=part(sampling_rate=16_000), vocoder=raising), {})
    assert 24_000 == sampling_rate(pipe(vae=part(sampling_rate=16_000), vocoder=part(sampling_rate=24_000)), {})


def test_what_hears_is_asked_last() -> None:
    """A feature extractor tells the rate of what it hears, and counts only where nothing else tells one."""
    listener = transformers.ClapFeatureExtractor()

    assert 16_000 == sampling_rate(pipe(feature_extractor=listener, vae=part(sampling_rate=16_000)), {})
    assert listener.sampling_rate == sampling_rate(pipe(feature_extractor=listener), {})


def test_a_component_of_transformers_tells_the_rate() -> None:
    """The vocoder of a real pipeline is of transformers, whose configuration is no mapping."""
    spoken = makers.pipelines()["AudioLDMPipeline"].make()

    assert spoken.vocoder.config.sampling_rate == sampling_rate(spoken, {})


def test_nothing_says_the_rate() -> None:
    """Without any word of it the rate is not known."""
    assert sampling_rate(pipe(vae=part(latent_channels=4), tokenizer=object(), nothing=None), {}) is None


def entry(**defaults: Any) -> PipelineEntry:
    """Return what the catalog would know of a pipeline whose call has these parameters."""
    parameters = tuple(Parameter(name, default=value) for name, value in defaults.items())
    return PipelineEntry("OnePipeline", "one", "one", parameters=parameters)


def test_the_request_decides_how_fast_a_video_plays() -> None:
    """In this order: the output's own wish, the call's parameter, its default, 16."""
    spoken = entry(frame_rate=24.0)

    assert 30.0 == frame_rate(OutputFormat(fps=30), {"frame_rate": 12}, spoken)
    assert 12.0 == frame_rate(OutputFormat(), {"frame_rate": 12}, spoken)
    assert 24.0 == frame_rate(OutputFormat(), {}, spoken)
    assert FPS == frame_rate(OutputFormat(), {}, entry(num_frames=9)) == 16.0


def test_a_rate_that_is_none_is_passed_over() -> None:
    """A default of None, of an expression or of zero, and a parameter given as None, leave the rate to the next."""
    later = Parameter("fps", default="LATER", literal=False)
    calculated = PipelineEntry("OnePipeline", "one", "one", parameters=(later,))

    assert FPS == frame_rate(OutputFormat(), {}, calculated)
    assert FPS == frame_rate(OutputFormat(), {}, entry(fps=None))
    assert FPS == frame_rate(OutputFormat(), {"fps": 0}, entry(fps=0))
    assert 24.0 == frame_rate(OutputFormat(), {"fps": None}, entry(fps=7, frame_rate=24))
    assert 24.0 == frame_rate(OutputFormat(), {}, entry(fps=None, frame_rate=24))
