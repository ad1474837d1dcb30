"""Find the sampling rate of audio and the frame rate of a video."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import torch

from octabox.catalog.entries import Parameter, PipelineEntry
from octabox.media.video import Video
from octabox.types import OutputFormat

#: Settings for the sampling rate, in order of preference: a vocoder that upsamples has both.
RATES = (re.compile(r"^output_sampl\w*_rate$"), re.compile(r"^sampl\w*_rate$"))

#: The attribute for the rate of a component without such a setting.
ATTRIBUTE = "sampling_rate"

#: Words in the names of components that generate audio, from the last one that runs to the first.
GENERATORS = ("vocoder", "audio", "sound", "vae", "unet", "mel", "transformer")

#: Call parameters for the frame rate of a video.
FRAME_RATES = ("fps", "frame_rate")

#: The description of a frame rate that is not that of the output, such as "Playback fps of the **input**".
OF_INPUT = re.compile(r"\bof the \W*input\b")

#: Default frame rate.
FPS = 16.0


def sampling_rate(pipe: Any, fields: Mapping[str, Any]) -> int | None:
    """Return the sampling rate of a pipeline's audio; None if it is not known.

    Args:
        pipe: The pipeline.
        fields: The fields of its output, which may include the rate.
    """
    for pattern in RATES:
        for name, value in fields.items():
            if pattern.search(name) and (rate := _to_rate(value)):
                return rate
    names = sorted(pipe.components, key=_rank)
    components = [pipe.components[name] for name in names]
    settings = [value for pattern in RATES for component in components for value in _find_settings(component, pattern)]
    return next((rate for value in settings if (rate := _to_rate(value))), None)


def frame_rate(
    output: OutputFormat,
    params: Mapping[str, Any],
    entry: PipelineEntry,
    inputs: Mapping[str, Sequence[Any]] = MappingProxyType({}),
    length: int = 0,
) -> float:
    """Return the frame rate of a video.

    It is that of the request, else of the pipeline's parameter or its default, else of the input video, else of the example of
    the pipeline. A rate that is documented as that of the input increases as its frames do.

    Args:
        output: The requested format.
        params: Parameters of the call.
        entry: The pipeline.
        inputs: Media of the call. Several videos with different rates do not decide.
        length: Frames of the video.
    """
    if output.fps:
        return output.fps
    for name in FRAME_RATES:
        parameter = entry.parameter(name)
        rate = _number(params, parameter)
        if parameter is not None and rate:
            return rate * (_increase(params, entry, length) if OF_INPUT.search(parameter.description) else 1)
    rates = {each.fps for media in inputs.values() for each in _videos(media)}
    return rates.pop() if len(rates) == 1 else entry.frame_rate or FPS


def _number(params: Mapping[str, Any], parameter: Parameter | None) -> float:
    """Return the value of a parameter in a call, or its default; 0 if that is not a positive number."""
    if parameter is None:
        return 0
    value = params.get(parameter.name, parameter.default if parameter.literal else None)
    return float(value) if isinstance(value, int | float) and value > 0 else 0


def _increase(params: Mapping[str, Any], entry: PipelineEntry, length: int) -> int:
    """Return how many times as many frames a video has as the input, whose number is a parameter; the first is in both."""
    count = _number(params, entry.frames)
    return max(1, round((length - 1) / (count - 1))) if count > 1 else 1


def _videos(media: Sequence[Any]) -> Iterator[Video]:
    """Yield the videos of an input whose frame rate is known."""
    for each in media:
        if isinstance(each, Video) and each.is_timed:
            yield each
        elif isinstance(each, list):
            yield from _videos(each)


def _find_settings(component: Any, pattern: re.Pattern[str]) -> list[Any]:
    """Return the settings of a component whose names match, and its attribute."""
    found = [value for name, value in _settings(component).items() if pattern.search(name)]
    return [*found, getattr(component, ATTRIBUTE, None)] if pattern.search(ATTRIBUTE) else found


def _settings(component: Any) -> dict[str, Any]:
    """Return the configuration of a component of diffusers or transformers."""
    config = getattr(component, "config", None)
    found: Mapping[str, Any] = config if isinstance(config, Mapping) else getattr(config, "to_dict", dict)()
    return dict(found)


def _rank(name: str) -> int:
    """Return the position of a component in the order of preference."""
    return next((index for index, word in enumerate(GENERATORS) if word in name), len(GENERATORS))


def _to_rate(value: Any) -> int | None:
    """Return a rate from a number or a tensor of one element; None if it is not a positive number."""
    if isinstance(value, torch.Tensor | np.ndarray):
        value = value.flatten()[0].item() if len(value.flatten()) == 1 else None
    value = value.item() if isinstance(value, np.generic) else value
    return int(value) if isinstance(value, int | float) and not isinstance(value, bool) and value > 0 else None
