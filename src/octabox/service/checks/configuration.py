"""Find the problems of model configurations that need the catalog: names, values and components.

The problems of the configuration files themselves are found when they are read, by `octabox.config`, and those of the files
of models by `octabox.service.checks.model_files`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from octabox.catalog.conditions.ip_adapter import add_scale_parameter
from octabox.catalog.entries import PipelineEntry
from octabox.catalog.pipelines import Catalog
from octabox.catalog.signature import check_value
from octabox.config.model import ModelConfig
from octabox.config.names import check_names, pipeline_of
from octabox.config.parsing import Entry
from octabox.config.problems import KeyPath, Problem, did_you_mean
from octabox.errors import InvalidParameterError, OctaboxError, RequestError, UnknownParameterError
from octabox.hub.folder import folder_index, index_components
from octabox.schedulers.compatibility import check_settings
from octabox.schedulers.names import resolve_scheduler
from octabox.service.bounds import Limits, check_amounts
from octabox.service.checks.parallel import find_parallel_problems


def find_problems(entries: Iterable[Entry], catalog: Catalog, limits: Limits) -> list[Problem]:
    """Return the problems of configurations.

    Args:
        entries: The configurations.
        catalog: All pipelines and schedulers.
        limits: Limits of the values of a request.
    """
    # Cascades have the parameters of their stages; `octabox.service.cascades` checks them.
    entries = tuple(entry for entry in entries if not entry.config.stages)

    def family(config: ModelConfig, pipeline: str) -> list[PipelineEntry]:
        return _family(config, catalog.pipeline(pipeline), catalog)

    problems = check_names(entries, catalog.pipelines, catalog.schedulers, family=family)
    for entry in entries:
        pipeline = catalog.pipelines.get(pipeline_of(entry) or "")
        if pipeline is not None:
            pipelines = _family(entry.config, pipeline, catalog)
            problems += find_value_problems(entry, ("defaults",), entry.config.defaults, pipelines, limits)
            problems += _check_components(entry, pipelines)
            problems += _check_class(entry, pipeline, catalog)
            problems += find_parallel_problems(entry, pipeline, catalog)
        problems += _check_scheduler_values(entry, catalog)
    return problems


def _family(config: ModelConfig, pipeline: PipelineEntry, catalog: Catalog) -> list[PipelineEntry]:
    """Return the class of a model, and all others that run on its weights."""
    extra = frozenset(config.components) - {part.name for part in pipeline.components}
    scales = tuple(each.scale for each in config.ip_adapters)
    return [add_scale_parameter(each, scales) for each in (pipeline, *catalog.siblings(pipeline.name, extra))]


def find_value_problems(
    entry: Entry, key: KeyPath, values: Mapping[str, Any], pipelines: Sequence[PipelineEntry], limits: Limits
) -> Iterator[Problem]:
    """Check each call parameter as that of a request; one of the pipelines that have it must take its value.

    Args:
        entry: The configuration.
        key: Its field with the values.
        values: The values by parameter; unknown ones are ignored.
        pipelines: The classes that may be called with them.
        limits: Limits of the values of a request.
    """
    for name, value in values.items():
        parameters = [(each, found) for each in pipelines if (found := each.parameter(name))]
        errors: list[RequestError] = []
        for pipeline, parameter in parameters:
            try:
                check_amounts({name: check_value(parameter, value)}, limits, pipeline)
            except RequestError as error:
                errors.append(error)
        if errors and len(errors) == len(parameters):
            yield entry.problem((*key, name), errors[0].message, errors[0].hint)


def _check_scheduler_values(entry: Entry, catalog: Catalog) -> Iterator[Problem]:
    """Check the values of the noise scheduler's settings; its name and theirs are checked with all other names."""
    scheduler = entry.config.scheduler
    if scheduler is None:
        return
    try:
        resolved = resolve_scheduler(scheduler.name, scheduler.settings, catalog.schedulers)
    except OctaboxError:
        return
    try:
        check_settings(scheduler.name, resolved, catalog.schedulers[resolved.kind], scheduler.settings)
    except UnknownParameterError:
        return
    except InvalidParameterError as error:
        yield entry.problem(("scheduler", "settings"), error.message, error.hint or "see `octabox schedulers`")


def _check_components(entry: Entry, pipelines: Sequence[PipelineEntry]) -> Iterator[Problem]:
    """Check that one of the pipelines has each component."""
    known = {part.name for each in pipelines for part in each.components}
    # Modular pipelines may load components that only some of their blocks name.
    for name in () if pipelines[0].modular or not known else entry.config.components:
        if name not in known:
            message = f"{pipelines[0].name} has no component {name!r}."
            hint = did_you_mean(name, sorted(known)) or f"it has {', '.join(sorted(known))}"
            yield entry.problem(("components", name), message, hint)


def _check_class(entry: Entry, pipeline: PipelineEntry, catalog: Catalog) -> Iterator[Problem]:
    """Check that the folder of a model has what the class of its configuration needs."""
    try:
        index = folder_index(Path(entry.config.model))
    except OctaboxError:
        return
    original = catalog.pipelines.get(str(index["_class_name"]))
    if pipeline.modular or original is None or original.name == pipeline.name:
        return
    parts = {name for name, (_, cls) in index_components(index).items() if cls}
    provided = parts | {name for name, part in entry.config.parts() if part.model}
    hint = f"the folder is for {original.name}"
    if missing := pipeline.required_components - provided:
        message = f"{pipeline.name} needs {', '.join(sorted(missing))}, which the model folder does not have."
        yield entry.problem(("pipeline",), message, hint)
    elif pipeline.name not in {each.name for each in _family(entry.config, original, catalog)}:
        # Many classes declare all their components optional, though their weights need them.
        added = {part.name for part in pipeline.components} - provided - {part.name for part in original.components}
        if added:
            message = f"{pipeline.name} may not fit the model: it also has {', '.join(sorted(added))}."
            yield entry.problem(("pipeline",), message, hint, "warning")
