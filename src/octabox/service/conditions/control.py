"""Check the control images and numbers of a request against the control components of the model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sized
from typing import Any

from octabox.catalog.conditions.control import ControlInputs, control_inputs
from octabox.catalog.entries import PipelineEntry
from octabox.config.model import ModelConfig
from octabox.errors import InvalidParameterError, InvalidRequestError

#: Suffixes of the parameters for the first and the last step of the control, as fractions of the steps.
START, END = "_start", "_end"


def check_control_inputs(
    entry: PipelineEntry, config: ModelConfig, params: Mapping[str, Any], files: Mapping[str, Sized]
) -> None:
    """Check that there is one image and one number for each control component.

    Args:
        entry: The pipeline.
        config: The model's configuration, with the control components.
        params: The checked parameters of the call.
        files: The files of the call.

    Raises:
        InvalidParameterError: There are too many or too few, or the control ends before it begins.
        InvalidRequestError: There are several of these problems.
    """
    control = control_inputs(entry)
    part = control.component
    problems = list(_spans(control, params))
    if part is not None and part.name in config.components:
        parts = config.components[part.name]
        count = len(parts) if isinstance(parts, tuple) else 1
        # Some classes pass several images to a list with one component, which was trained for several types.
        if count > 1 or not (isinstance(parts, tuple) or control.modes):
            problems += _count_mismatches(control, part.name, count, params, files)
    if len(problems) > 1:
        raise InvalidRequestError(problems)
    if problems:
        raise problems[0]


def _count_mismatches(
    control: ControlInputs, name: str, count: int, params: Mapping[str, Any], files: Mapping[str, Sized]
) -> Iterator[InvalidParameterError]:
    """Yield an error for each parameter that does not have one image or number for each component."""
    expected = f"this model has {count} components '{name}'" if count > 1 else f"this model has one component '{name}'"
    image = control.image
    number = len(files[image.name]) if image is not None and image.name in files else count
    if image is not None and number != count:
        yield InvalidParameterError(
            f"'{image.name}' is {number} image{'s'[: number > 1]}, and {expected}.",
            hint=f"Give a list of {count}, one for each." if count > 1 else "Give one.",
            parameter=image.name,
        )
    for each in control.scales:
        value = params.get(each.name)
        if isinstance(value, list) and len(value) != count:
            yield InvalidParameterError(
                f"'{each.name}' has {len(value)} number{'s'[: len(value) > 1]}, and {expected}.",
                hint=f"Give one number for all, or a list of {count}." if count > 1 else "Give one number.",
                parameter=each.name,
            )


def _spans(control: ControlInputs, params: Mapping[str, Any]) -> Iterator[InvalidParameterError]:
    """Yield an error if the control begins or ends outside of the steps, or ends before it begins."""
    known = {each.name: each.default for each in control.scales}
    for first in [name for name in known if name.endswith(START)]:
        last = first.removesuffix(START) + END
        if last not in known:
            continue
        starts, ends = (_each(params.get(name, known[name])) for name in (first, last))
        outside = [(first, value) for value in starts if value < 0] + [(last, value) for value in ends if value > 1]
        for name, value in outside[:1]:
            yield InvalidParameterError(
                f"'{name}' must be a fraction of the steps, from 0 to 1, not {value:g}.", parameter=name
            )
        if len(starts) != len(ends):
            starts, ends = (
                starts * (len(ends) if len(starts) == 1 else 1),
                ends * (len(starts) if len(ends) == 1 else 1),
            )
        late = [(start, end) for start, end in zip(starts, ends, strict=False) if start >= end]
        if late and not outside:
            yield InvalidParameterError(
                f"'{first}' must be less than '{last}': {late[0][0]:g} is not less than {late[0][1]:g}.",
                hint="Set the scale to 0 to disable the control.",
                parameter=first,
            )


def _each(value: Any) -> list[float]:
    """Return the numbers of a parameter that takes one or several."""
    numbers = value if isinstance(value, list) else [value]
    return [number for number in numbers if isinstance(number, int | float)]
