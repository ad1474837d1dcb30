"""Check the names in configurations: of pipelines, call parameters, noise schedulers and their settings."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from octabox.config.model import ModelConfig
from octabox.config.parsing import Entry
from octabox.config.problems import Problem, did_you_mean
from octabox.errors import InvalidParameterError, OctaboxError, SchedulerNotFoundError
from octabox.hub.folder import folder_index
from octabox.schedulers.names import resolve_scheduler

#: Classes that resolve to the one that the model itself names, so that their parameters cannot be checked.
_ANY_MODEL = re.compile(r"(Diffusion|Modular)Pipeline|AutoPipelineFor\w+")

#: Pattern of a class name; all other names are tasks.
_CLASS = re.compile(r"[A-Z]\w*")


class Parameter(Protocol):
    """A parameter of a call or of a constructor."""

    @property
    def name(self) -> str:
        """Name of the parameter."""


class Signature(Protocol):
    """A pipeline of the catalog."""

    @property
    def parameters(self) -> Sequence[Parameter]:
        """Parameters of its call."""


class Scheduler(Protocol):
    """A noise scheduler of the catalog."""

    @property
    def settings(self) -> Sequence[Parameter]:
        """Parameters of its constructor."""

    @property
    def step_settings(self) -> Sequence[Parameter]:
        """Parameters of its step that have a default."""


#: Returns all pipelines that run on the weights of a model of a class, that class among them.
Family = Callable[[ModelConfig, str], Iterable[Signature]]


def check_names(
    entries: Iterable[Entry],
    pipelines: Mapping[str, Signature],
    schedulers: Mapping[str, Scheduler],
    tasks: Collection[str] = (),
    family: Family | None = None,
) -> list[Problem]:
    """Return a problem for each unknown name.

    Args:
        entries: The configurations.
        pipelines: All pipelines by class name.
        schedulers: All noise schedulers by class name.
        tasks: All tasks and their aliases; if empty, names of tasks are not checked.
        family: Returns all pipelines that run on the weights of a model of a class; by default, the class alone.
    """
    problems: list[Problem] = []
    for entry in entries:
        problems += _check_pipeline(entry, pipelines, tasks)
        problems += _check_defaults(entry, pipelines, family)
        problems += _check_scheduler(entry, schedulers)
    return problems


def pipeline_of(entry: Entry) -> str | None:
    """Return the pipeline class of a model, if its configuration or its folder names one."""
    if entry.config.pipeline is not None:
        return entry.config.pipeline
    try:
        name = folder_index(Path(entry.config.model))["_class_name"]
    except OctaboxError:
        return None
    return name if isinstance(name, str) else None


def _check_pipeline(entry: Entry, pipelines: Mapping[str, Signature], tasks: Collection[str]) -> Iterator[Problem]:
    """Check the class or the task that the configuration names."""
    name = entry.config.pipeline
    if name is None or name in pipelines or name in tasks or _ANY_MODEL.fullmatch(name):
        return
    if _CLASS.fullmatch(name):
        yield entry.problem(("pipeline",), f"There is no pipeline {name!r}.", did_you_mean(name, pipelines))
    elif tasks:
        yield entry.problem(("pipeline",), f"There is no task {name!r}.", did_you_mean(name, tasks))


def _check_defaults(entry: Entry, pipelines: Mapping[str, Signature], family: Family | None) -> Iterator[Problem]:
    """Check that the pipeline, or another one for its weights, has every parameter among the defaults."""
    pipeline = pipeline_of(entry)
    if pipeline is None or pipeline not in pipelines:
        return
    signatures = family(entry.config, pipeline) if family else [pipelines[pipeline]]
    known = {parameter.name for signature in signatures for parameter in signature.parameters}
    for name in entry.config.defaults:
        if name not in known:
            message = f"{pipeline} has no parameter {name!r}."
            yield entry.problem(("defaults", name), message, did_you_mean(name, known))


def _check_scheduler(entry: Entry, schedulers: Mapping[str, Scheduler]) -> Iterator[Problem]:
    """Check the noise scheduler and its settings, including those of its alias."""
    scheduler = entry.config.scheduler
    if scheduler is None:
        return
    try:
        name, settings, *_ = resolve_scheduler(scheduler.name, scheduler.settings, schedulers)
    except (SchedulerNotFoundError, InvalidParameterError) as error:
        yield entry.problem(("scheduler", "name"), error.message, error.hint)
        return
    known = {setting.name for setting in (*schedulers[name].settings, *schedulers[name].step_settings)}
    for setting in sorted(settings.keys() - known):
        if setting in scheduler.settings:
            message = f"{name} has no setting {setting!r}."
            yield entry.problem(("scheduler", "settings", setting), message, did_you_mean(setting, known))
        else:
            message = f"{scheduler.name!r} sets {setting!r}, which {name} does not have."
            yield entry.problem(("scheduler", "name"), message, "use its name without that, or another scheduler")
