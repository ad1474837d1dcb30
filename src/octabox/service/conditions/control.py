"""Check what a request says to components that steer a call: as many images and numbers as there are of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sized
from typing import Any

from octabox.catalog.conditions.control import ControlInputs, control_inputs
from octabox.catalog.entries import PipelineEntry
from octabox.config.model import ModelConfig
from octabox.errors import InvalidParameterError, InvalidRequestError

#: Ends of the names of two parameters that tell from which to which part of the steps a component steers.
START, END = "_start", "_end"


def check_control_inputs(
    entry: PipelineEntry, config: ModelConfig, params: Mapping[str, Any], files: Mapping[str, Sized]
) -> None:
    """Refuse images and numbers of which there are not as many as components that they are for.

    Args:
        entry: The pipeline.
        config: The model's configuration, which says how many components there are.
        params: What the call is to be given, checked.
        files: What it is to be given as files.

    Raises:
        InvalidParameterError: There are too many or too few of something, or a component is to end before it begins.
        InvalidRequestError: Several of these at once.
    """
    control = control_inputs(entry)
    part = control.component
    problems = list(_spans(control, params))
    if part is not None and part.name in config.components:
        parts = config.components[part.name]
        count = len(parts) if isinstance(parts, tuple) else 1
        # Some classes show several images to a list of one that was trained for several kinds.
        if count > 1 or not (isinstance(parts, tuple) or control.modes):
            problems += _count_mismatches(control, part.name, count, params, files)
    if len(problems) > 1:
        raise InvalidRequestError(problems)
    if problems:
        raise problems[0]


def _count_mismatches(
    control: ControlInputs, name: str, count: int, params: Mapping[str, Any], files: Mapping[str, Sized]
) -> Iterator[InvalidParameterError]:
    """Yield an error for each parameter that has not one image or number for each component."""
    there = f"this model has {count} components '{name}'" if count > 1 else f"this model has one component '{name}'"
    image = control.image
    given = len(files[image.name]) if image is not None and image.name in files else count
    if image is not None and given != count:
        yield InvalidParameterError(
            f"'{image.name}' is {given} image{'s'[: given > 1]}, and {there}.",
            hint=f"Give a list of {count}, one for each." if count > 1 else "Give one.",
            parameter=image.name,
        )
    for each in control.scales:
        value = params.get(each.name)
        if isinstance(value, list) and len(value) != count:
            yield InvalidParameterError(
                f"'{each.name}' has {len(value)} number{'s'[: len(value) > 1]}, and {there}.",
                hint=f"Give one number for all, or a list of {count}." if count > 1 else "Give one number.",
                parameter=each.name,
            )


def _spans(control: ControlInputs, params: Mapping[str, Any]) -> Iterator[InvalidParameterError]:
    """Yield an error where steering is to begin or to end outside of the steps, or to end before it begins."""
    known = {each.name: each.default for each in control.scales}
    for first in [name for name in known if name.endswith(START)]:
        last = first.removesuffix(START) + END
        if last not in known:
            continue
        starts, ends = (_each(params.get(name, known[name])) for name in (first, last))
        outside = [(first, value) for value in starts if value < 0] + [(last, value) for value in ends if value > 1]
        for name, value in outside[:1]:
            yield InvalidParameterError(f"'{name}' is a part of the steps, from 0 to 1, not {value:g}.", parameter=name)
        if len(starts) != len(ends):
            starts, ends = (
                starts * (len(ends) if len(starts) == 1 else 1),
                ends * (len(starts) if len(ends) == 1 else 1),
            )
        late = [(start, end) for start, end in zip(starts, ends, strict=False) if start >= end]
        if late and not outside:
            yield InvalidParameterError(
                f"'{first}' is {late[0][0]:g} and '{last}' {late[0][1]:g}: it would end before it begins.",
                hint=f"Let '{first}' be less than '{last}'; to go without, set the strength to 0.",
                parameter=first,
            )


def _each(value: Any) -> list[float]:
    """Return the numbers of a parameter that takes one or several."""
    numbers = value if isinstance(value, list) else [value]
    return [number for number in numbers if isinstance(number, int | float)]
