"""Build the noise scheduler of a call from the model's original configuration, and reject one that is incompatible."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Mapping
from types import MethodType
from typing import Any

import numpy as np
from diffusers import SchedulerMixin

from octabox.catalog.entries import PipelineEntry
from octabox.catalog.loading import import_class
from octabox.catalog.pipelines import load_catalog
from octabox.engine.worker.inputs.scheduler_steps import changed_step
from octabox.engine.worker.prediction_trial import convert_to_noise, mishandles_prediction
from octabox.errors import InvalidParameterError
from octabox.schedulers.compatibility import (
    Incompatibility,
    IncompatibilityCause,
    ModelTraits,
    SchedulerConfig,
    check_settings,
    incompatibility,
    scheduler_config,
    step_values,
)
from octabox.schedulers.names import ResolvedAlias
from octabox.types import SchedulerChoice

#: Steps of a trial schedule: enough for solvers that start with steps of a lower order.
TRIAL_STEPS = 10

#: Shift of a trial schedule, for schedulers with dynamic shifting.
TRIAL_SHIFT = 1.0

#: Results of the trials of prediction types by class and configuration, and how many are kept: a trial takes milliseconds.
_NEEDS_CONVERSION: dict[tuple[type, str], bool] = {}
MAX_TRIALS = 256

#: Errors of a constructor or a schedule for settings that are incompatible.
SETTINGS_ERRORS = (
    ValueError,
    TypeError,
    NotImplementedError,
    ArithmeticError,
    IndexError,
    RuntimeError,
    AttributeError,
)


def build_scheduler(
    scheduler: SchedulerMixin,
    original_config: Mapping[str, Any],
    choice: SchedulerChoice | None,
    pipeline: PipelineEntry | None = None,
) -> SchedulerMixin:
    """Return a new scheduler for one call.

    Args:
        scheduler: The model's scheduler, which no call has used.
        original_config: Its configuration as it was loaded.
        choice: The requested class and settings; None for the model's scheduler.
        pipeline: The catalog entry of the pipeline.

    Raises:
        SchedulerNotFoundError: There is no such class.
        UnknownParameterError: The class has no such setting.
        InvalidParameterError: The class or a setting is incompatible with the model.
    """
    if choice is None:
        # The default class of a family may be a solver that combines noise only.
        return convert_to_noise(scheduler) if _needs_conversion(scheduler) else copy.deepcopy(scheduler)
    catalog = load_catalog()
    entry = catalog.scheduler(choice.name)
    check_settings(choice.name, ResolvedAlias(choice.name, dict(choice.settings)), entry, choice.settings)
    subject = ModelTraits(type(scheduler).__name__, original_config, pipeline)
    cls: Any = import_class(choice.name)
    if found := incompatibility(entry, subject, choice.settings, catalog.pipelines.values()):
        raise found.error(choice.name, subject)
    parts = scheduler_config(entry, subject, choice.settings)
    trial = _build_trial(cls, parts, choice)
    if float(trial.timesteps[0]) < float(trial.timesteps[-1]):
        reason = "it inverts an image into noise"
        raise Incompatibility(IncompatibilityCause.DIRECTION, reason).error(choice.name, subject)
    built: SchedulerMixin = _build(cls, parts)
    if _needs_conversion(built):
        built = convert_to_noise(built)
    if choice.timesteps:
        _use_timesteps(built, choice.timesteps)
    if values := step_values(entry, choice.settings):
        _use_step_values(built, values)
    return built


def _needs_conversion(scheduler: Any) -> bool:
    """Return whether a scheduler mishandles its prediction type, by a trial of each configuration."""
    key = (type(scheduler), repr(sorted(scheduler.config.items())))
    if key not in _NEEDS_CONVERSION:
        if len(_NEEDS_CONVERSION) >= MAX_TRIALS:
            _NEEDS_CONVERSION.clear()
        _NEEDS_CONVERSION[key] = mishandles_prediction(scheduler)
    return _NEEDS_CONVERSION[key]


def _build(cls: Any, parts: SchedulerConfig) -> Any:
    """Return a new scheduler of a class."""
    built = cls.from_config(dict(parts.inherited), **parts.overrides)
    built.register_to_config(**parts.extra)
    return built


def _build_trial(cls: Any, parts: SchedulerConfig, choice: SchedulerChoice) -> Any:
    """Return a scheduler with the timesteps of a short run, to check its settings."""
    try:
        trial = _build(cls, parts)
        if choice.timesteps:
            trial.set_timesteps(timesteps=_interpolate_timesteps(choice.timesteps, TRIAL_STEPS))
            return trial
        is_shifted = (
            trial.config.get("use_dynamic_shifting") and "mu" in inspect.signature(trial.set_timesteps).parameters
        )
        trial.set_timesteps(TRIAL_STEPS, **({"mu": TRIAL_SHIFT} if is_shifted else {}))
    except SETTINGS_ERRORS as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InvalidParameterError(
            f"{choice.name} rejected its settings: {reason}",
            hint=f"`octabox schedulers {choice.name}` lists its settings.",
            parameter="scheduler",
        ) from error
    return trial


def _use_timesteps(scheduler: Any, schedule: tuple[int, ...]) -> None:
    """Let a scheduler use explicit timesteps, whenever only their number is set."""

    # A method, so that a copy of the scheduler sets the timesteps of the copy.
    def set_timesteps(
        self: Any, num_inference_steps: int | None = None, device: Any = None, timesteps: Any = None, **options: Any
    ) -> None:
        if num_inference_steps is None or timesteps is not None or options.get("sigmas") is not None:
            type(self).set_timesteps(self, num_inference_steps, device=device, timesteps=timesteps, **options)
        else:
            timesteps = _interpolate_timesteps(schedule, num_inference_steps)
            type(self).set_timesteps(self, device=device, timesteps=timesteps, **options)

    scheduler.set_timesteps = MethodType(set_timesteps, scheduler)


def _use_step_values(scheduler: Any, values: Mapping[str, Any]) -> None:
    """Pass values to each step of a scheduler, in place of its defaults and of what the pipeline passes."""

    def step(original: Callable[..., Any], *args: Any, **options: Any) -> Any:
        return original(*args, **{**options, **values})

    scheduler.step = changed_step(scheduler, step)


def _interpolate_timesteps(schedule: tuple[int, ...], steps: int) -> list[int]:
    """Return timesteps that are interpolated between those of an explicit schedule.

    Raises:
        InvalidParameterError: There are too many steps for distinct timesteps.
    """
    positions = np.linspace(0, len(schedule) - 1, steps)
    timesteps = [round(float(step)) for step in np.interp(positions, range(len(schedule)), schedule)]
    if len(set(timesteps)) < steps:
        raise InvalidParameterError(
            f"This schedule has no room for {steps} steps.", hint="Use fewer.", parameter="num_inference_steps"
        )
    return timesteps
