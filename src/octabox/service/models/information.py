"""What is known of models without loading them: their sources, classes and tasks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from octabox.catalog.pipelines import Catalog
from octabox.config.aliases import Alias
from octabox.config.model import ModelConfig
from octabox.errors import OctaboxError
from octabox.service.cascades.stages import Cascade, stage_configs
from octabox.types import ModelInfo


def describe_model(config: ModelConfig, pipeline: str | None, tasks: tuple[str, ...]) -> ModelInfo:
    """Return the information about a model; its class is None where it is not known yet."""
    about = (_changed_at(config), config.description, config.response_format)
    return ModelInfo(config.name, config.model, pipeline, tasks, *about)


def describe_cascade(
    config: ModelConfig,
    named: Mapping[str, ModelConfig],
    folder: Path,
    find: Callable[[], Cascade],
    catalog: Catalog,
) -> ModelInfo:
    """Return the information about a cascade: the class of its first stage, with the outputs of its last.

    Args:
        config: Its configuration.
        named: The models that its stages may name.
        folder: The models folder.
        find: Returns the cascade.
        catalog: All pipelines.
    """
    pipeline, tasks = None, tuple[str, ...]()
    with suppress(OctaboxError):
        # The classes of stages on the Hub are known only after a request.
        if all(Path(each.model).exists() for _, each in stage_configs(config, named, folder)):
            model = find().served(catalog)
            pipeline, tasks = model.pipeline.name, model.tasks(catalog)
    source = " > ".join(stage.model for stage in config.stages)
    about = (_changed_at(config), config.description, config.response_format)
    return ModelInfo(config.name, source, pipeline, tasks, *about)


def describe_alias(alias: Alias, info: ModelInfo) -> ModelInfo:
    """Return the information about a model under another name."""
    return replace(info, name=alias.name, description=alias.description or info.description, alias_of=info.name)


def _changed_at(config: ModelConfig) -> float:
    """Return when the file of a configuration was changed, in seconds since the epoch; 0 without a file."""
    return config.path.stat().st_mtime if config.path and config.path.exists() else 0.0
