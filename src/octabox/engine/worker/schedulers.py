"""Build a call's noise scheduler from the model's pristine configuration, and refuse one that would only make noise."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Mapping
from typing import Any

from diffusers import SchedulerMixin

from octabox.catalog.loading import import_class
from octabox.catalog.pipelines import load_catalog
from octabox.errors import InvalidParameterError, UnknownParameterError
from octabox.types import SchedulerChoice

#: Settings that hold how noise was added in training; a scheduler without those of the model's own cannot undo it.
NOISE = ("beta_schedule", "shift", "sigma_data")

#: Steps of a trial schedule: enough for solvers that begin with steps of a lower order.
TRIAL_STEPS = 10

#: What a model was trained to predict where its scheduler's configuration does not say: the noise.
PREDICTS_NOISE = "epsilon"


def fresh(scheduler: SchedulerMixin, pristine: Mapping[str, Any], choice: SchedulerChoice | None) -> SchedulerMixin:
    """Return a new scheduler for one call.

    Args:
        scheduler: The model's own, which no call has touched.
        pristine: The configuration that the model came with.
        choice: Class and settings that the caller asked for; None is the model's own.

    Raises:
        SchedulerNotFoundError: There is no such class.
        UnknownParameterError: The class has no such setting.
        InvalidParameterError: The class cannot work with this model's weights.
    """
    if choice is None:
        return copy.deepcopy(scheduler)
    load_catalog().scheduler(choice.name)
    kind: Any = import_class(choice.name)
    settings = _settings(kind)
    if unknown := sorted(set(choice.settings) - settings):
        names = ", ".join(f"'{name}'" for name in unknown)
        raise UnknownParameterError(
            f"{choice.name} has no setting {names}.",
            hint=f"`octabox schedulers {choice.name}` lists its settings.",
            parameter="scheduler",
            choices=sorted(settings),
        )
    if kind is not type(scheduler):
        _check_fit(kind, settings, pristine, type(scheduler).__name__)
    return kind.from_config(pristine, **choice.settings)


def _settings(kind: type[SchedulerMixin]) -> set[str]:
    """Return the names of a scheduler class's settings."""
    return set(inspect.signature(kind.__init__).parameters) - {"self", "kwargs"}


def _check_fit(kind: type[SchedulerMixin], settings: set[str], pristine: Mapping[str, Any], own: str) -> None:
    """Refuse a class that cannot be told what the model was trained with, or that runs from picture to noise."""
    reason = None
    prediction = pristine.get("prediction_type", PREDICTS_NOISE)
    if missing := [name for name in NOISE if pristine.get(name) is not None and name not in settings]:
        reason = f"it has no setting '{missing[0]}', which the model was trained with"
    elif prediction != PREDICTS_NOISE and "prediction_type" not in settings:
        reason = f"the model predicts '{prediction}', and it has no setting 'prediction_type'"
    elif not _denoises(kind, pristine):
        reason = "it runs from the picture to the noise"
    if reason:
        raise InvalidParameterError(
            f"Scheduler {kind.__name__} does not fit this model: {reason}.",
            hint=f"The model's own is {own}.",
            parameter="scheduler",
        )


def _denoises(kind: type[SchedulerMixin], pristine: Mapping[str, Any]) -> bool:
    """Tell whether a class goes from much noise to little: its timesteps fall."""
    trial = kind.from_config(pristine)
    trial.set_timesteps(TRIAL_STEPS)
    return float(trial.timesteps[0]) >= float(trial.timesteps[-1])
