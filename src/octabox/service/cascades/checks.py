"""Find the problems of cascades: stages without a model, unknown parameters, and stages that cannot follow each other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from octabox.catalog.entries import PipelineEntry
from octabox.catalog.pipelines import Catalog
from octabox.config.cascades.stages import OF_A_STAGE
from octabox.config.model import ModelConfig
from octabox.config.parsing import Entry
from octabox.config.problems import KeyPath, Problem, did_you_mean
from octabox.errors import OctaboxError
from octabox.service.bounds import Limits
from octabox.service.cascades.stages import Cascade, find_cascade, stage_configs
from octabox.service.checks.configuration import find_value_problems
from octabox.service.selection.resolver import ModelResolver


def find_stage_problems(
    entries: Iterable[Entry], named: Mapping[str, ModelConfig], folder: Path, catalog: Catalog, limits: Limits
) -> list[Problem]:
    """Return the problems of the cascades among configurations; nothing is fetched for those with stages of the Hub.

    Args:
        entries: The configurations.
        named: The models that stages may name.
        folder: The models folder.
        catalog: All pipelines.
        limits: Limits of the values of a request.
    """
    cascades = [entry for entry in entries if entry.config.stages]
    return [problem for entry in cascades for problem in _check(entry, named, folder, catalog, limits)]


def stage_entries(entries: Iterable[Entry], named: Mapping[str, ModelConfig], folder: Path) -> list[Entry]:
    """Return the models of the stages that are not configured models, each with the locations of its stage.

    Args:
        entries: The configurations.
        named: The models that stages may name.
        folder: The models folder.
    """
    found: list[Entry] = []
    for entry in entries:
        try:
            stages = list(stage_configs(entry.config, named, folder))
        except OctaboxError:
            continue  # It is a problem of the cascade.
        for index, (_, config) in enumerate(stages):
            if config not in named.values():
                start: KeyPath = ("stages", index)
                locations = {key[2:]: place for key, place in entry.locations.items() if key[:2] == start}
                found.append(Entry(config, entry.file, locations, start))
    return found


def _check(
    entry: Entry, named: Mapping[str, ModelConfig], folder: Path, catalog: Catalog, limits: Limits
) -> Iterator[Problem]:
    config, resolver = entry.config, ModelResolver()
    for key in OF_A_STAGE:
        if getattr(config, key):
            yield entry.problem((key,), f"`{key}` belongs to one model.", "set it in one of the `stages`")
    try:
        if not all(Path(each.model).exists() for _, each in stage_configs(config, named, folder)):
            return
        cascade = find_cascade(config, named, folder, lambda each: resolver.resolve(each, catalog))
        yield from _check_params(entry, cascade, catalog, limits)
        cascade.served(catalog)
    except OctaboxError as error:
        yield entry.problem(("stages",), error.message, error.hint)


def _check_params(entry: Entry, cascade: Cascade, catalog: Catalog, limits: Limits) -> Iterator[Problem]:
    """Check that a class of each stage has the parameters of its configuration, and of the first those among the defaults."""
    families = [stage.family(catalog) for stage in cascade.stages]
    places: list[tuple[KeyPath, Mapping[str, Any], Sequence[PipelineEntry]]] = [
        (("stages", index, "params"), stage.config.params, family)
        for index, (stage, family) in enumerate(zip(cascade.stages, families, strict=True))
    ]
    for key, values, family in (*places, (("defaults",), entry.config.defaults, families[0])):
        known = {each.name for pipeline in family for each in pipeline.parameters}
        for name in values if family else ():
            if name not in known:
                message = f"{family[0].name} has no parameter {name!r}."
                yield entry.problem((*key, name), message, did_you_mean(name, known))
        yield from find_value_problems(entry, key, values, family, limits)
