"""Check the denoising steps of a call: that a strength leaves any, and that as many are taken as were requested."""

from __future__ import annotations

import copy
import inspect
import math
import re
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sized
from contextlib import contextmanager
from typing import Any

from octabox.engine.replacement import replaced
from octabox.errors import InvalidParameterError

#: The method by which pipelines leave out steps for a strength, and its parameters.
GET_TIMESTEPS, STEPS, STRENGTH = "get_timesteps", "num_inference_steps", "strength"

#: Name of the scheduler component.
SCHEDULER = "scheduler"

#: Parameters by which a call takes other steps than it counts.
PARTIAL = re.compile(r"(^|_)(strength|denoising_\w+|timesteps|sigmas)$")

#: Parameters that list the steps of a call or of one of its stages, in place of a number with the same prefix.
LISTED = re.compile(r"(?P<stage>(?:\w+_)?)(?:timesteps|sigmas)")

#: Decimals of a suggested strength.
DECIMALS = 2

#: Largest suggested number of steps.
MAX_STEPS = 1000


@contextmanager
def checked_timesteps(pipe: Any) -> Iterator[None]:
    """Check within the context that a pipeline's own computation of timesteps leaves any.

    Raises:
        InvalidParameterError: It leaves none.
    """
    original = getattr(pipe, GET_TIMESTEPS, None)
    if original is None:
        yield
        return

    def get_timesteps(*args: Any, **options: Any) -> Any:
        result = original(*args, **options)
        if not _has_steps(result):
            raise _no_steps(original, args, options)
        return result

    with replaced(pipe, GET_TIMESTEPS, get_timesteps):
        yield


def _has_steps(result: Any) -> bool:
    """Return whether timesteps, alone or with their number, are at least one."""
    parts = result if isinstance(result, tuple) else (result,)
    return not any(_is_empty(each) for each in parts)


def _is_empty(part: Any) -> bool:
    """Return whether a number is below 1, or a list of timesteps has no item."""
    if isinstance(part, int):
        return part < 1
    return isinstance(part, Sized) and bool(getattr(part, "ndim", 1)) and len(part) == 0


def _no_steps(original: Callable[..., Any], args: tuple[Any, ...], options: Mapping[str, Any]) -> InvalidParameterError:
    """Return the error where no timestep is left, with the nearest values that leave one."""
    values = inspect.signature(original).bind(*args, **options).arguments
    steps, strength = values.get(STEPS), values.get(STRENGTH)
    others = {name: value for name, value in values.items() if isinstance(value, float) and name != STRENGTH}
    if others or not isinstance(steps, int) or not isinstance(strength, int | float):
        described = ", ".join(f"'{name}' {value}" for name, value in {STEPS: steps, **others}.items())
        return InvalidParameterError(
            f"No step is left of {described}.", hint="Use more steps.", parameter=next(iter(others), STEPS)
        )
    good: list[str] = []
    if (more := _enough_steps(original, args, options)) is not None:
        good.append(f"at least {more} steps")
    if (stronger := _enough_strength(original, args, options)) is not None:
        good.append(f"a strength of at least {stronger}")
    return InvalidParameterError(
        f"'{STRENGTH}' {strength} of {steps} steps leaves none.",
        hint=f"Use {' or '.join(good)}." if good else "Use more steps.",
        parameter=STRENGTH,
    )


def _enough_steps(original: Callable[..., Any], args: tuple[Any, ...], options: Mapping[str, Any]) -> int | None:
    """Return the least number of steps for which the pipeline's own computation leaves one; None if it is not known."""
    bound = inspect.signature(original).bind(*args, **options)

    def leaves_step(count: int) -> bool:
        bound.arguments[STEPS] = count
        with _scheduled(getattr(original, "__self__", None), count):
            return _has_steps(original(*bound.args, **bound.kwargs))

    try:
        counts = range(bound.arguments[STEPS] + 1, MAX_STEPS + 1)
        index = bisect_left(counts, True, key=leaves_step)
    except (ValueError, TypeError, AttributeError, IndexError, RuntimeError, InvalidParameterError):
        # The schedules of some pipelines need more than a number of steps.
        return None
    return counts[index] if index < len(counts) else None


@contextmanager
def _scheduled(pipe: Any, steps: int) -> Iterator[None]:
    """Let a pipeline have a scheduler with the timesteps of this many steps within the context."""
    scheduler = getattr(pipe, SCHEDULER, None)
    if scheduler is None:
        yield
        return
    trial = copy.deepcopy(scheduler)
    trial.set_timesteps(steps)
    setattr(pipe, SCHEDULER, trial)
    try:
        yield
    finally:
        setattr(pipe, SCHEDULER, scheduler)


def _enough_strength(original: Callable[..., Any], args: tuple[Any, ...], options: Mapping[str, Any]) -> float | None:
    """Return the least strength, in few decimals, for which the pipeline's own computation leaves a step."""
    bound = inspect.signature(original).bind(*args, **options)
    scale: int = 10**DECIMALS
    for share in range(math.floor(bound.arguments[STRENGTH] * scale), scale + 1):
        bound.arguments[STRENGTH] = share / scale
        if _has_steps(original(*bound.args, **bound.kwargs)):
            return share / scale
    return None


def step_warnings(params: Mapping[str, Any], taken: int | None) -> list[str]:
    """Return a warning if a call has taken fewer steps than requested, and those of `schedule_warnings`.

    Args:
        params: The parameters of the request; if one of them is the reason, there is no warning.
        taken: The number of steps that the pipeline has reported; None if it does not report them.
    """
    return [*_fewer_steps(params, taken), *schedule_warnings(params)]


def _fewer_steps(params: Mapping[str, Any], taken: int | None) -> list[str]:
    """Return a warning if a call has taken fewer steps than requested, and no parameter is the reason."""
    requested = params.get(STEPS)
    if taken is None:
        return []
    is_partial = any(value is not None and PARTIAL.search(name) for name, value in params.items())
    if not isinstance(requested, int) or taken >= requested or (taken and is_partial):
        return []
    return [f"'{STEPS}' {requested} was requested, and the pipeline took {taken or 'no'} step{'s' * (taken != 1)}."]


def schedule_warnings(params: Mapping[str, Any]) -> list[str]:
    """Return a warning for each number of steps that a list of steps replaces, if that has another length.

    Args:
        params: The parameters of the request.
    """
    found = []
    for name, steps in params.items():
        listed = LISTED.fullmatch(name) if isinstance(steps, list | tuple) and steps else None
        count = f"{listed['stage']}{STEPS}" if listed else ""
        requested = params.get(count)
        if isinstance(requested, int) and requested != len(steps):
            found.append(f"'{count}' {requested} has no effect with '{name}', which has {len(steps)}.")
    return found
