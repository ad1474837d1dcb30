"""Find the problems of the noise scheduler of a model, its own and the configured one, before the model is loaded."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from octabox.catalog.entries import Parameter
from octabox.catalog.pipelines import Catalog
from octabox.catalog.signature import check_value
from octabox.config.parsing import Entry
from octabox.config.problems import Problem
from octabox.errors import InvalidParameterError, OctaboxError
from octabox.schedulers.compatibility import COMPONENT, ModelTraits, incompatibility
from octabox.schedulers.names import resolve_scheduler
from octabox.service.model_schedulers import traits_of
from octabox.service.served_model import ServedModel


def find_scheduler_problems(entry: Entry, model: ServedModel, catalog: Catalog) -> Iterator[Problem]:
    """Yield the problems of the scheduler in the files of a model, and those of the configured one with this model.

    Args:
        entry: The configuration of the model.
        model: The model.
        catalog: All pipelines and schedulers.
    """
    config = model.config
    is_local = Path(config.model).is_dir() and COMPONENT not in config.components
    if not is_local and not entry.config.own_scheduler_settings and config.scheduler is None:
        return
    try:
        traits = traits_of(model, catalog)
    except OctaboxError:
        return  # It is a problem of the files.
    if traits is not None:
        if is_local:
            yield from _find_invalid_values(entry, traits, catalog)
        yield from _find_incompatibilities(entry, model, traits, catalog)


def _find_invalid_values(entry: Entry, traits: ModelTraits, catalog: Catalog) -> Iterator[Problem]:
    """Yield a warning for each value in the files that is not one of its setting; some classes replace old ones."""
    for error in invalid_values(traits.config, catalog.schedulers[traits.default_class].settings):
        message = f"In the configuration of {COMPONENT} ({traits.default_class}), {error.message}"
        yield entry.problem(("model",), message, "fix the file, or download the model again", "warning")


def invalid_values(config: Mapping[str, Any], settings: Iterable[Parameter]) -> Iterator[InvalidParameterError]:
    """Yield an error for each value of a scheduler's configuration that is not one of its setting.

    Args:
        config: The configuration, as it is read from scheduler_config.json.
        settings: The settings of the scheduler.
    """
    for setting in settings:
        value = config.get(setting.name, setting.default)
        # Some defaults are infinite, or no values of their annotations.
        if value == setting.default or (isinstance(value, float) and math.isinf(value)):
            continue
        try:
            check_value(setting, value)
        except InvalidParameterError as error:
            yield error


def _find_incompatibilities(
    entry: Entry, model: ServedModel, traits: ModelTraits, catalog: Catalog
) -> Iterator[Problem]:
    """Yield configured settings that the model's own scheduler does not have, and a configured scheduler that does not fit."""
    for name in entry.config.own_scheduler_settings:
        if catalog.schedulers[traits.default_class].setting(name) is None:
            yield entry.problem((name,), f"{traits.default_class} has no setting `{name}`.", "remove it")
    if (scheduler := model.config.scheduler) is None:
        return
    try:
        resolved = resolve_scheduler(scheduler.name, scheduler.settings, catalog.schedulers)
    except OctaboxError:
        return  # It is a problem of the configuration.
    kind = catalog.schedulers[resolved.kind]
    found = [
        incompatibility(kind, replace(traits, pipeline=each), resolved.settings, catalog.pipelines.values())
        for each in model.family(catalog)
    ]
    if found[0] is not None and all(found):
        yield _scheduler_problem(entry, found[0].error(resolved.kind, traits))


def _scheduler_problem(entry: Entry, error: InvalidParameterError) -> Problem:
    """Return the problem of a configured scheduler."""
    return entry.problem(("scheduler",), error.message, error.hint)
