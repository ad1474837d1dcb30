"""Resolve the stages of a cascade to models, and check that each takes something of the stages before it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from octabox.catalog.entries import PipelineEntry
from octabox.catalog.pipelines import Catalog
from octabox.config.cascades.stages import OF_THE_CASCADE, StageConfig
from octabox.config.discovery import resolve_sources
from octabox.config.model import ModelConfig
from octabox.config.parsing import Entry
from octabox.config.problems import describe_problem
from octabox.errors import ConfigError, IncompatibleWeightsError, ModelNotFoundError, nearest
from octabox.hub.folder import is_hub_id
from octabox.security.filesystem import existing_path
from octabox.service.cascades.links import StageLink, choose_link, combine
from octabox.service.served_model import ServedModel


@dataclass(frozen=True)
class Stage:
    """A stage of a cascade.

    Args:
        config: Its configuration.
        model: Its model.
    """

    config: StageConfig
    model: ServedModel

    def family(self, catalog: Catalog) -> tuple[PipelineEntry, ...]:
        """Return the classes that may run it: those of its model, or those of them that serve its task."""
        task = catalog.task(self.config.task) if self.config.task else None
        return tuple(each for each in self.model.family(catalog) if task is None or task in each.tasks)


@dataclass(frozen=True)
class Cascade:
    """A cascade whose models are known.

    Args:
        config: Its configuration.
        stages: Its stages.
    """

    config: ModelConfig
    stages: tuple[Stage, ...]

    def links(self, catalog: Catalog, first: PipelineEntry, files: Collection[str]) -> tuple[StageLink, ...]:
        """Return the links of the stages after the first.

        Args:
            catalog: All pipelines.
            first: The class that runs the first stage.
            files: Parameters of the first stage that the request has files for.

        Raises:
            IncompatibleWeightsError: A stage takes nothing of the stages before it, or needs what none of them makes.
        """
        earlier, links = [first], list[StageLink]()
        for number, stage in enumerate(self.stages[1:], 2):
            family = stage.family(catalog)
            link = choose_link(earlier, family, files)
            if link is None:
                raise _not_linked(self.config.name, number, earlier[-1], stage, family)
            links.append(link)
            earlier.append(link.entry)
        return tuple(links)

    def served(self, catalog: Catalog) -> ServedModel:
        """Return the cascade as one model: the parameters of its first stage, and the outputs of its last."""
        model = self.stages[0].model
        files = {each.name for each in model.pipeline.parameters if each.required and each.is_file}
        last = self.links(catalog, model.pipeline, files)[-1].entry
        kept = {name: getattr(self.config, name) for name in ("name", "description", "response_format", "path")}
        defaults = {**model.config.defaults, **self.stages[0].config.params, **self.config.defaults}
        config = model.config.model_copy(update={**kept, "defaults": defaults})
        return ServedCascade(config, combine(model.pipeline, last), model.alone, model, last)


@dataclass(frozen=True)
class ServedCascade(ServedModel):
    """A cascade as one model.

    Args:
        first: The model of its first stage.
        last: The class of its last stage.
    """

    first: ServedModel | None = None
    last: PipelineEntry | None = None

    def family(self, catalog: Catalog) -> tuple[PipelineEntry, ...]:
        """Return the classes of its first stage, with the outputs of its last."""
        assert self.first is not None  # noqa: S101 (only `Cascade.served` makes it)
        assert self.last is not None  # noqa: S101 (likewise)
        return tuple(combine(each, self.last) for each in self.first.family(catalog))


def stage_configs(
    cascade: ModelConfig, named: Mapping[str, ModelConfig], folder: Path
) -> Iterator[tuple[StageConfig, ModelConfig]]:
    """Yield each stage of a cascade with the configuration of its model.

    A stage without settings that names a configured model shares its process; others have a separate process.

    Args:
        cascade: Configuration of the cascade.
        named: The configured models by name.
        folder: The models folder.

    Raises:
        ConfigError: The settings of a stage are invalid.
        ModelNotFoundError: There is no such model.
    """
    shared = {name: getattr(cascade, name) for name in cascade.model_fields_set - OF_THE_CASCADE}
    for number, stage in enumerate(cascade.stages, 1):
        base = named.get(stage.model)
        if base is not None and base.stages:
            message = f"Stage {number} of '{cascade.name}' is '{base.name}', which is a cascade itself."
            raise ConfigError(message, hint="Name its stages instead.", model=cascade.name)
        if base is not None and not stage.settings:
            yield stage, base
            continue
        own = {name: getattr(base, name) for name in base.model_fields_set} if base else _source(stage, folder, named)
        fields = {**shared, **own, **stage.settings, "name": f"{cascade.name}:{number}", "aliases": ()}
        try:
            config = ModelConfig.model_validate(fields)
        except ValidationError as error:
            message = describe_problem(("stages", number - 1, *error.errors()[0]["loc"]), error.errors()[0])
            raise ConfigError(message, model=cascade.name) from error
        yield stage, resolve_sources(Entry(config, folder), folder)[0].config


def find_cascade(
    config: ModelConfig,
    named: Mapping[str, ModelConfig],
    folder: Path,
    resolve: Callable[[ModelConfig], ServedModel],
) -> Cascade:
    """Return a cascade with the models of its stages."""
    return Cascade(config, tuple(Stage(stage, resolve(each)) for stage, each in stage_configs(config, named, folder)))


def _source(stage: StageConfig, folder: Path, named: Mapping[str, ModelConfig]) -> dict[str, Any]:
    """Return the source of a stage that names no configured model."""
    path = existing_path(stage.model, folder)
    if path or is_hub_id(stage.model):
        return {"model": str(path or stage.model)}
    close = nearest(stage.model, named)
    hint = f"Did you mean {' or '.join(close)}?" if close else "Name a configured model, a Hub id, a folder or a file."
    raise ModelNotFoundError(f"There is no model {stage.model!r} for a stage.", hint=hint, choices=close)


def _not_linked(
    name: str, number: int, before: PipelineEntry, stage: Stage, family: tuple[PipelineEntry, ...]
) -> IncompatibleWeightsError:
    """Return the error for a stage that cannot follow the one before."""
    entry = family[0] if family else stage.model.pipeline
    returned = ", ".join(each.name for each in before.outputs) or "nothing"
    takes = [each.name for each in entry.parameters if each.is_file]
    needed = [each.name for each in entry.parameters if each.is_file and each.required]
    verb = f"needs {' and '.join(needed)}" if needed else f"takes {', '.join(takes) or 'no input but text'}"
    return IncompatibleWeightsError(
        f"Stage {number} of '{name}' cannot follow: {before.name} returns {returned}, and {entry.name} {verb}.",
        hint="Put a stage between them that makes it, or use another class for one of them.",
        model=name,
    )
