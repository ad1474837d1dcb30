"""Find how fast an output plays: samples a second of an audio, frames a second of a video."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from octabox.catalog.entries import PipelineEntry
from octabox.types import OutputFormat

#: Settings that hold an audio's rate, the surest first: a vocoder that raises the rate names both.
RATES = (re.compile(r"^output_sampl\w*_rate$"), re.compile(r"^sampl\w*_rate$"))

#: Name under which a component without such a setting may tell its rate.
ATTRIBUTE = "sampling_rate"

#: Words of the names of components that make an audio, the last to touch it first; others say the rate of what they hear.
SPEAKERS = ("vocoder", "audio", "sound", "vae", "unet", "mel", "transformer")

#: Call parameters that say how fast a video plays.
FRAME_RATES = ("fps", "frame_rate")

#: Frames a second where neither the request nor the pipeline says.
FPS = 16.0


def sampling_rate(pipe: Any, fields: Mapping[str, Any]) -> int | None:
    """Return the samples a second of what a pipeline speaks; None where nothing says.

    Args:
        pipe: The pipeline.
        fields: The fields of its output, which may hold the rate themselves.
    """
    for pattern in RATES:
        for name, value in fields.items():
            if pattern.search(name) and (told := _number(value)):
                return told
    names = sorted(pipe.components, key=_place)
    parts = [pipe.components[name] for name in names]
    settings = [value for pattern in RATES for part in parts for value in _matching(part, pattern)]
    return next((rate for value in settings if (rate := _number(value))), None)


def frame_rate(output: OutputFormat, params: Mapping[str, Any], entry: PipelineEntry) -> float:
    """Return the frame rate of a video: that of the request, that of the call, or that of the pipeline."""
    if output.fps:
        return output.fps
    for name in FRAME_RATES:
        parameter = entry.parameter(name)
        default = parameter.default if parameter is not None and parameter.literal else None
        value = params.get(name, default)
        if isinstance(value, int | float) and value > 0:
            return float(value)
    return FPS


def _matching(part: Any, pattern: re.Pattern[str]) -> list[Any]:
    """Return a component's settings whose names match, and its attribute of the plainest such name."""
    found = [value for name, value in _settings(part).items() if pattern.search(name)]
    return [*found, getattr(part, ATTRIBUTE, None)] if pattern.search(ATTRIBUTE) else found


def _settings(part: Any) -> dict[str, Any]:
    """Return a component's configuration, be it diffusers' or transformers'."""
    config = getattr(part, "config", None)
    found: Mapping[str, Any] = config if isinstance(config, Mapping) else getattr(config, "to_dict", dict)()
    return dict(found)


def _place(name: str) -> int:
    """Return how early a component is asked."""
    return next((place for place, word in enumerate(SPEAKERS) if word in name), len(SPEAKERS))


def _number(value: Any) -> int | None:
    """Return a rate, be it a number or a tensor of one; None where it is none."""
    if isinstance(value, torch.Tensor | np.ndarray):
        value = value.flatten()[0].item() if len(value.flatten()) == 1 else None
    value = value.item() if isinstance(value, np.generic) else value
    return int(value) if isinstance(value, int | float) and not isinstance(value, bool) and value > 0 else None
