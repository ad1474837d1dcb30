"""Limits of a request: nesting, text, sizes, frames and steps."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from octabox.errors import InvalidParameterError
from octabox.security.nesting import check_nesting, check_numbers, check_text
from octabox.types import GenerationRequest

#: Call parameters that count denoising steps, such as `num_inference_steps` and `prior_num_inference_steps`.
STEPS = re.compile(r"(?:\w+_)?num_inference_steps(?:_\w+)?")


@dataclass(frozen=True)
class Limits:
    """How much one request may ask for.

    Args:
        outputs: Outputs in all.
        pixels: Pixels of one image.
        frames: Frames of one video.
        steps: Denoising steps of one run.
    """

    outputs: int = 10
    pixels: int = 64 * 1024 * 1024
    frames: int = 2048
    steps: int = 1000


def check_bounds(request: GenerationRequest) -> None:
    """Check the nesting and the numbers of a request, before they are used.

    Raises:
        InvalidParameterError: One is nested too deep, holds too many values, or has a number that no float can hold.
    """
    for values in (request.params, request.optional_params, request.inputs):
        for name, value in values.items():
            check_nesting(value, name)
            check_numbers(value, name)
    check_nesting(request.workflow, "workflow")
    if request.scheduler:
        check_nesting(request.scheduler.settings, "scheduler")
        check_numbers(request.scheduler.settings, "scheduler")


def check_texts(params: Mapping[str, Any]) -> None:
    """Check the length of the texts among a call's parameters; files are no longer among them.

    Raises:
        InvalidParameterError: One is longer than any model reads.
    """
    for name, value in params.items():
        check_text(value, name)


def check_amounts(params: Mapping[str, Any], limits: Limits) -> None:
    """Check the size, the frames and the steps that a call is to have.

    Raises:
        InvalidParameterError: One is below 1, or more than is allowed.
    """
    width, height = params.get("width"), params.get("height")
    for name, value in (("width", width), ("height", height)):
        if isinstance(value, int) and value < 1:
            raise InvalidParameterError(f"'{name}' must be at least 1, not {value}.", parameter=name)
    _check_count("num_frames", params.get("num_frames"), limits.frames, "max_frames")
    for name, value in params.items():
        if STEPS.fullmatch(name):
            _check_count(name, value, limits.steps, "max_steps")
    if isinstance(width or 1, int) and isinstance(height or 1, int) and (width or 1) * (height or 1) > limits.pixels:
        raise InvalidParameterError(
            f"An image of {width}x{height} has more pixels than the {limits.pixels} that are allowed.",
            hint="Ask for a smaller one, or raise `max_image_pixels`.",
            parameter="width",
        )


def _check_count(name: str, value: object, limit: int, setting: str) -> None:
    """Check a count; a list has one count for each stage; other values are not checked here."""
    for count in value if isinstance(value, list | tuple) else (value,):
        if isinstance(count, int) and not isinstance(count, bool) and not 1 <= count <= limit:
            raise InvalidParameterError(
                f"'{name}' must be from 1 to {limit}, not {count}.",
                hint=f"More may be asked for where `{setting}` is raised.",
                parameter=name,
            )
