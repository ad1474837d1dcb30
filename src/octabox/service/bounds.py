"""Limits of a request: nesting, text, sizes, frames, seconds, steps, tokens and other counts."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard

from octabox.catalog.entries import Parameter, PipelineEntry
from octabox.errors import InvalidParameterError
from octabox.security.nesting import check_nesting, check_numbers, check_text
from octabox.service.selection.inputs import FRAMES
from octabox.types import GenerationRequest

#: Call parameters that count denoising steps, such as `num_inference_steps` and `prior_num_inference_steps`.
STEPS = re.compile(r"steps|(?:\w+_)?inference_steps(?:_\w+)?")

#: Call parameters that list denoising steps, such as `timesteps`, `sigmas` and `prior_timesteps`.
SCHEDULES = re.compile(r"(?:\w+_)?(?:timesteps|sigmas)(?:_\w+)?")

#: Call parameters that count frames in addition to that of the whole video, such as `base_num_frames`.
FRAME_COUNTS = re.compile(r"(?:\w+_)?num_frames(?:_\w+)?")

#: Call parameters for seconds of audio or video, such as `audio_length_in_s`, `audio_duration` and `max_seconds`.
LENGTHS = re.compile(r"(?:\w+_)?(?:in_s|duration(?:_s)?|secs|seconds)")

#: Call parameters for a side of an image and, with the same prefix, for the other side.
SIDES = re.compile(r"(\w+_|)(?:width|height)")

#: Call parameters for a side of a square image, and for the number of its pixels.
SQUARES, AREAS = re.compile(r"(?:\w+_)?(?:resolution|(?:image|frame)_size)"), re.compile(r"(?:\w+_)?(?:area|pixels)")

#: Call parameter for the number of outputs of a pipeline without a prompt.
BATCH = "batch_size"

#: Call parameters for the number of outputs of one input.
OUTPUTS = re.compile(rf"{BATCH}|num_\w+_per_(?:prompt|image)")

#: Call parameters for a number of tokens, to which many pipelines pad a prompt: `max_sequence_length`, `max_new_tokens`.
TOKENS = re.compile(r"(?:\w+_)?(?:max|gen)(?:_\w+)?_(?:length|tokens)")

#: Call parameters by which both sides of an image are multiplied.
SCALES = re.compile(r"(?:\w+_)?resolution_scale")

#: Start of the description of a parameter for any other count.
COUNTED = re.compile(r"(?:the )?(?:maximum |total )?number of\b", re.IGNORECASE)

#: Maximum of a scale.
MAX_SCALE = 16


@dataclass(frozen=True)
class Limits:
    """How much one request may ask for.

    Args:
        outputs: Outputs in all.
        pixels: Pixels of one image.
        frames: Frames of one video.
        steps: Denoising steps of one run.
        seconds: Seconds of audio.
        tokens: Tokens of a prompt, or of a text that is generated.
        counts: Other counts, such as those of layers and of predictions.
    """

    outputs: int = 10
    pixels: int = 64 * 1024 * 1024
    frames: int = 2048
    steps: int = 1000
    seconds: float = 600.0
    tokens: int = 8192
    counts: int = 2048


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


def check_amounts(params: Mapping[str, Any], limits: Limits, entry: PipelineEntry | None = None) -> None:
    """Check the size, the frames, the seconds, the steps, the tokens and the other counts that a call is to have.

    Args:
        params: The call parameters.
        limits: The limits.
        entry: The pipeline, which may have a default for a side, another name for the number of frames, and other counts.

    Raises:
        InvalidParameterError: One is below 1, or more than is allowed.
    """
    frames = {*FRAMES, *([entry.frames.name] if entry and entry.frames else [])}
    for name, value in params.items():
        if name in frames or FRAME_COUNTS.fullmatch(name):
            _check_count(name, value, limits.frames, "max_frames")
        elif STEPS.fullmatch(name):
            _check_count(name, value, limits.steps, "max_steps")
        elif SCHEDULES.fullmatch(name):
            _check_schedule(name, value, limits.steps)
        elif OUTPUTS.fullmatch(name):
            _check_count(name, value, limits.outputs, "max_outputs")
        elif LENGTHS.fullmatch(name):
            _check_maximum(name, value, limits.seconds, "max_audio_seconds")
        elif SQUARES.fullmatch(name):
            _check_maximum(name, value, math.isqrt(limits.pixels), "max_image_pixels")
        elif AREAS.fullmatch(name):
            _check_maximum(name, value, limits.pixels, "max_image_pixels")
        else:
            _check_other(name, value, limits, entry.parameter(name) if entry else None)
    for prefix in dict.fromkeys(side[1] for name in params if (side := SIDES.fullmatch(name))):
        _check_size(params, f"{prefix}width", f"{prefix}height", limits.pixels, entry)


def _check_other(name: str, value: object, limits: Limits, parameter: Parameter | None) -> None:
    """Check a number of tokens, a scale, or a count by its description, which have no setting."""
    if TOKENS.fullmatch(name):
        _check_maximum(name, value, limits.tokens)
    elif SCALES.fullmatch(name):
        _check_maximum(name, value, MAX_SCALE)
    elif parameter is not None and parameter.kind == "integer" and COUNTED.match(parameter.description):
        _check_maximum(name, value, limits.counts)


def _check_size(
    params: Mapping[str, Any], width: str, height: str, limit: int, entry: PipelineEntry | None = None
) -> None:
    """Check both sides of an image; one without the other is that of a square, unless the pipeline has a default."""
    sides: dict[str, int] = {}
    for name in (width, height):
        value = params.get(name)
        if _is_number(value) and value < 1:
            raise InvalidParameterError(f"'{name}' must be at least 1, not {value}.", parameter=name)
        parameter = entry.parameter(name) if entry and value is None else None
        default = parameter.default if parameter and parameter.literal else None
        if _is_number(side := default if value is None else value):
            sides[name] = side
    if len(sides) == 1:
        ((name, side),) = sides.items()
        if side > (longest := math.isqrt(limit)):
            other = height if name == width else width
            message = f"'{name}' must be at most {longest} without '{other}', not {side}."
            raise InvalidParameterError(message, hint=_hint("max_image_pixels"), parameter=name)
    elif math.prod(sides.values()) > limit:
        raise InvalidParameterError(
            f"An image of {sides[width]}x{sides[height]} has more pixels than the {limit} that are allowed.",
            hint="Ask for a smaller one, or raise `max_image_pixels`.",
            parameter=next(name for name in (width, height) if params.get(name) is not None),
        )


def _hint(setting: str) -> str:
    """Return the hint of a value above a limit; one without a setting has none."""
    return f"More may be asked for where `{setting}` is raised." if setting else ""


def _is_number(value: object) -> TypeGuard[int]:
    """Return whether a value is a number, and neither true nor false."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def _check_count(name: str, value: object, limit: int, setting: str) -> None:
    """Check a count; a list has one count for each stage; other values are not checked here."""
    for count in value if isinstance(value, list | tuple) else (value,):
        if _is_number(count) and not 1 <= count <= limit:
            message = f"'{name}' must be from 1 to {limit}, not {count}."
            raise InvalidParameterError(message, hint=_hint(setting), parameter=name)


def _check_schedule(name: str, value: object, limit: int) -> None:
    """Check that a list of steps, or that of each stage, is not longer than a limit."""
    lists = [
        each for each in (value, *(value if isinstance(value, list | tuple) else ())) if isinstance(each, list | tuple)
    ]
    if (longest := max(map(len, lists), default=0)) > limit:
        message = f"'{name}' must have at most {limit} numbers, not {longest}."
        raise InvalidParameterError(message, hint=_hint("max_steps"), parameter=name)


def _check_maximum(name: str, value: object, limit: float, setting: str = "") -> None:
    """Check that a number, or each of a list, is not above a limit; the pipeline checks what is too little."""
    for number in value if isinstance(value, list | tuple) else (value,):
        if _is_number(number) and number > limit:
            message = f"'{name}' must be at most {limit:.15g}, not {number}."
            raise InvalidParameterError(message, hint=_hint(setting), parameter=name)
