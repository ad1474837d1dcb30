"""Find the sampling rate of audio and the frame rate of a video."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from octabox.catalog.entries import PipelineEntry
from octabox.types import OutputFormat

#: Settings for the sampling rate, in order of preference: a vocoder that upsamples has both.
RATES = (re.compile(r"^output_sampl\w*_rate$"), re.compile(r"^sampl\w*_rate$"))

#: The attribute for the rate of a component without such a setting.
ATTRIBUTE = "sampling_rate"

#: Words in the names of components that generate audio, from the last one that runs to the first.
GENERATORS = ("vocoder", "audio", "sound", "vae", "unet", "mel", "transformer")

#: Call parameters for the frame rate of a video.
FRAME_RATES = ("fps", "frame_rate")

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


def frame_rate(output: OutputFormat, params: Mapping[str, Any], entry: PipelineEntry) -> float:
    """Return the frame rate of a video: of the request, of the call's parameters, or the pipeline's default."""
    if output.fps:
        return output.fps
    for name in FRAME_RATES:
        parameter = entry.parameter(name)
        default = parameter.default if parameter is not None and parameter.literal else None
        value = params.get(name, default)
        if isinstance(value, int | float) and value > 0:
            return float(value)
    return FPS


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
