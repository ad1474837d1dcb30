"""Build a call's noise scheduler from the model's pristine configuration, and refuse one that would only make noise."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from diffusers import SchedulerMixin

from octabox.catalog.entries import PipelineEntry
from octabox.catalog.loading import import_class
from octabox.catalog.pipelines import load_catalog
from octabox.errors import InvalidParameterError
from octabox.schedulers.compatibility import (
    ModelTraits,
    SchedulerConfig,
    check_settings,
    incompatibility,
    scheduler_config,
)
from octabox.schedulers.names import ResolvedAlias
from octabox.types import SchedulerChoice

#: Steps of a trial schedule: enough for solvers that begin with steps of a lower order.
TRIAL_STEPS = 10

#: Shift of a trial schedule, for those that follow the size of the image.
TRIAL_SHIFT = 1.0

#: What a constructor or a schedule raises where settings do not go together.
REFUSALS = (ValueError, TypeError, NotImplementedError, ArithmeticError, IndexError, RuntimeError, AttributeError)


def build_scheduler(
    scheduler: SchedulerMixin,
    original_config: Mapping[str, Any],
    choice: SchedulerChoice | None,
    pipeline: PipelineEntry | None = None,
) -> SchedulerMixin:
    """Return a new scheduler for one call.

    Args:
        scheduler: The model's own, which no call has touched.
        original_config: The configuration that the model came with.
        choice: Class and settings that the caller asked for; None is the model's own.
        pipeline: Class of the pipeline that it is for.

    Raises:
        SchedulerNotFoundError: There is no such class.
        UnknownParameterError: The class has no such setting.
        InvalidParameterError: The class, or a setting, cannot work with this model's weights.
    """
    if choice is None:
        return copy.deepcopy(scheduler)
    catalog = load_catalog()
    entry = catalog.scheduler(choice.name)
    check_settings(choice.name, ResolvedAlias(choice.name, dict(choice.settings)), entry, choice.settings)
    subject = ModelTraits(type(scheduler).__name__, original_config, pipeline)
    kind: Any = import_class(choice.name)
    reason = incompatibility(entry, subject, choice.settings, catalog.pipelines.values())
    if reason:
        raise _refusal(choice.name, reason, subject)
    parts = scheduler_config(entry, subject, choice.settings)
    trial = _tried(kind, parts, choice)
    if float(trial.timesteps[0]) < float(trial.timesteps[-1]):
        raise _refusal(choice.name, "it inverts an image into noise", subject)
    built: SchedulerMixin = _built(kind, parts)
    if choice.timesteps:
        _write_out(built, choice.timesteps)
    return built


def _refusal(name: str, reason: str, subject: ModelTraits) -> InvalidParameterError:
    return InvalidParameterError(
        f"Scheduler {name} does not fit this model: {reason}.",
        hint=f"The model's own is {subject.default_class}.",
        parameter="scheduler",
    )


def _built(kind: Any, parts: SchedulerConfig) -> Any:
    """Return a new scheduler of a class."""
    built = kind.from_config(dict(parts.inherited), **parts.overrides)
    built.register_to_config(**parts.extra)
    return built


def _tried(kind: Any, parts: SchedulerConfig, choice: SchedulerChoice) -> Any:
    """Return a scheduler that was built on trial, with the timesteps of a short run."""
    try:
        trial = _built(kind, parts)
        if choice.timesteps:
            trial.set_timesteps(timesteps=_spread(choice.timesteps, TRIAL_STEPS))
            return trial
        moves = trial.config.get("use_dynamic_shifting") and "mu" in inspect.signature(trial.set_timesteps).parameters
        trial.set_timesteps(TRIAL_STEPS, **({"mu": TRIAL_SHIFT} if moves else {}))
    except REFUSALS as error:
        words = " ".join(str(error).split()) or type(error).__name__
        raise InvalidParameterError(
            f"{choice.name} refused its settings: {words}",
            hint=f"`octabox schedulers {choice.name}` lists its settings.",
            parameter="scheduler",
        ) from error
    return trial


def _write_out(scheduler: Any, timesteps: tuple[int, ...]) -> None:
    """Let a scheduler take timesteps that are written out, wherever it is told nothing but their number."""
    plain: Callable[..., None] = scheduler.set_timesteps

    def set_timesteps(
        num_inference_steps: int | None = None, device: Any = None, timesteps: Any = None, **others: Any
    ) -> None:
        if num_inference_steps is None or timesteps is not None or others.get("sigmas") is not None:
            plain(num_inference_steps, device=device, timesteps=timesteps, **others)
        else:
            plain(device=device, timesteps=_spread(written, num_inference_steps), **others)

    written = timesteps
    scheduler.set_timesteps = set_timesteps


def _spread(timesteps: tuple[int, ...], steps: int) -> list[int]:
    """Return so many timesteps along those that are written out.

    Raises:
        InvalidParameterError: There is no room for so many.
    """
    places = np.linspace(0, len(timesteps) - 1, steps)
    spread = [round(float(step)) for step in np.interp(places, range(len(timesteps)), timesteps)]
    if len(set(spread)) < steps:
        raise InvalidParameterError(
            f"This schedule has no room for {steps} steps.", hint="Ask for fewer.", parameter="num_inference_steps"
        )
    return spread
