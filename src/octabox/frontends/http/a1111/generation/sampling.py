"""The sampler of a request, as far as its model can have it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from octabox.errors import OctaboxError, RequestError
from octabox.frontends.http.a1111.generation.schema import GenerationBody
from octabox.frontends.http.a1111.generation.targets import Target
from octabox.frontends.http.a1111.samplers import choice_of, flow_twin, is_default, label_of, without_prefix
from octabox.schedulers.compatibility import COMPONENT, check_settings, schedule_timesteps
from octabox.schedulers.names import resolve_scheduler, split_schedule
from octabox.service.protocols import Models
from octabox.types import SchedulerChoice

#: Fields that steps of samplers take, and their neutral values, which many clients always send.
STEP_FIELDS: Mapping[str, tuple[float, ...]] = {
    "s_churn": (0,),
    "s_tmin": (0,),
    "s_tmax": (0, float("inf")),
    "s_noise": (1, 0),
    "eta": (),
}

#: Fields among them that pipelines may have as call parameters.
CALL_FIELDS = ("eta",)


@dataclass(frozen=True)
class Sampling:
    """A sampler.

    Args:
        choice: The sampler; None for the model's.
        label: Its name in the web UI.
        warnings: What the model cannot have of the request.
    """

    choice: SchedulerChoice | None = None
    label: str = ""
    warnings: tuple[str, ...] = ()


def select_sampling(models: Models, target: Target, body: GenerationBody) -> Sampling:
    """Return the sampler of a request. What the model cannot have is a warning; an unknown name is an error.

    Raises:
        SchedulerNotFoundError: There is no such sampler.
        InvalidParameterError: There is no such schedule.
    """
    name = body.sampler_name if not is_default(body.sampler_name) else body.sampler_index
    sampling = sampling_of(models, target, name, body.scheduler)
    values = {name: getattr(body, name) for name in STEP_FIELDS if not (name in CALL_FIELDS and target.takes(name))}
    requested = {name: each for name, each in values.items() if each is not None and each not in STEP_FIELDS[name]}
    return _with_step_values(models, target, sampling, requested) if requested else sampling


def _with_step_values(models: Models, target: Target, sampling: Sampling, requested: Mapping[str, Any]) -> Sampling:
    """Return a sampler with the values that its steps take, and a warning for each other one."""
    choice, known = sampling.choice or _default_choice(models, target), models.catalog.schedulers
    entry = known[resolve_scheduler(choice.name, {}, known).kind] if choice else None
    names = {each.name for each in entry.step_settings} if entry else set()
    taken = {name: value for name, value in requested.items() if name in names}
    sampler = entry.name if entry else "the sampler of the model"
    # A pipeline without a call parameter of this name has its own warning for it.
    missing = [name for name in requested if name not in taken and name not in CALL_FIELDS]
    warnings = tuple(f"'{name}' has no effect: the steps of {sampler} do not take it." for name in missing)
    if choice and taken:
        choice = SchedulerChoice(choice.name, {**choice.settings, **taken})
    return replace(sampling, choice=choice if taken else sampling.choice, warnings=(*sampling.warnings, *warnings))


def _default_choice(models: Models, target: Target) -> SchedulerChoice | None:
    """Return the sampler of a model with its settings; None if it is not known before the model is loaded."""
    try:
        found = models.schedulers(target.model)
    except OctaboxError:
        return None  # The load of the model reports it.
    return SchedulerChoice(found.recommended, dict(found.settings)) if found.recommended else None


def sampling_of(models: Models, target: Target, name: str | None, schedule: str | None) -> Sampling:
    """Return a sampler by its name and its schedule; it raises the errors of `select_sampling`."""
    known = models.catalog.schedulers
    if not is_default(name) and name is not None:
        choice_of(name, schedule, known)
    default = _default(models, target)
    if is_default(name) and is_default(schedule):
        return Sampling(None, label_of(default, known))
    if COMPONENT not in {part.name for part in target.entry.components}:
        return Sampling(None, "", (f"'sampler_name' has no effect: {target.entry.name} has no sampler.",))
    if is_default(name) or name is None:
        if not default:
            return Sampling(None, "", ("'scheduler' has no effect without 'sampler_name'.",))
        name = default
    return _compatible(models, target, name, schedule, label_of(default, known))


def _compatible(models: Models, target: Target, name: str, schedule: str | None, default: str) -> Sampling:
    """Return a sampler with its schedule, as far as they fit a model: else its form for flows, or that of the model.

    Args:
        models: The models of this server.
        target: The pipeline of the request.
        name: A name of the sampler, which may have a schedule at its end.
        schedule: The schedule of the request.
        default: The sampler of the model in the web UI.
    """
    known = models.catalog.schedulers
    requested = name
    bare, named = split_schedule(without_prefix(name), known)
    if (found := _incompatibility(models, target, SchedulerChoice(bare))) is not None:
        twin = flow_twin(bare, known)
        if twin is None or _incompatibility(models, target, SchedulerChoice(twin)) is not None:
            text = f"'sampler_name' {requested!r} has no effect, {default} is used: {found}"
            return Sampling(None, default, (text,))
        name, bare, schedule = twin, twin, named if is_default(schedule) else schedule
    choice = choice_of(name, schedule, known)
    if (problem := _schedule_problem(models, target, choice)) is None:
        return Sampling(choice, label_of(choice.name, known))
    warnings: tuple[str, ...] = ()
    if not is_default(schedule):
        warnings = (f"'scheduler' {schedule!r} has no effect: {problem}",)
    elif named is not None:
        warnings = (f"The schedule in 'sampler_name' {requested!r} has no effect: {problem}",)
    return Sampling(SchedulerChoice(bare), label_of(bare, known), warnings)


def _incompatibility(models: Models, target: Target, choice: SchedulerChoice) -> str | None:
    """Return why a sampler cannot work with the pipeline of a request, as a sentence; None if it can."""
    found = models.scheduler_incompatibility(target.model, choice, target.entry)
    return None if found is None else f"{found.reason.removesuffix('.')}."


def _default(models: Models, target: Target) -> str:
    """Return the class of the model's sampler; empty if it is not known before the model is loaded."""
    try:
        return models.schedulers(target.model).recommended
    except OctaboxError:
        return ""  # The load of the model reports it.


def _schedule_problem(models: Models, target: Target, choice: SchedulerChoice) -> str | None:
    """Return why a sampler does not have a schedule; None if it has."""
    known = models.catalog.schedulers
    resolved = resolve_scheduler(choice.name, choice.settings, known)
    entry = known[resolved.kind]
    try:
        check_settings(choice.name, resolved, entry, {})
        schedule_timesteps(choice.name, resolved, entry, target.entry.family)
    except RequestError as error:
        return error.message
    return _incompatibility(models, target, choice)
