"""The stages of a cascade in `EngineArgs`, whose files are in the core's folder of models."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from octabox.config.cascades.stages import OF_A_STAGE, StageConfig
from octabox.config.discovery import resolve_sources
from octabox.config.model import ModelConfig
from octabox.config.parsing import Entry
from octabox.config.problems import describe_problem
from octabox.errors import ConfigError
from octabox.hub.folder import is_hub_id
from octabox.security.filesystem import existing_path

#: Fields of ModelOptions that set a key which belongs to a stage, by the key.
FIELDS: Mapping[str, str] = {
    "pipeline": "PipelineType",
    "scheduler": "SchedulerType",
    "components": "ControlNet or Quantization",
    "adapters": "LoraAdapter",
    "allow_remote_code": "TrustRemoteCode",
}


def first_model(arguments: Mapping[str, Any]) -> str | None:
    """Return the model of the first stage in `EngineArgs`; None if they have no stages, or if the first is invalid."""
    values = arguments.get("stages")
    first = values[0] if isinstance(values, list) and values else None
    model = first.get("model") if isinstance(first, Mapping) else first
    return model if isinstance(model, str) and model else None


def place(config: ModelConfig, folder: Path) -> ModelConfig:
    """Return a cascade with the absolute sources of its stages.

    Args:
        config: Its configuration.
        folder: The core's folder of models.

    Raises:
        ConfigError: A key that belongs to a stage is set for the cascade, or a key of a stage has an invalid value.
    """
    check_keys(config)
    stages = tuple(_place(stage, number, folder) for number, stage in enumerate(config.stages))
    return config.model_copy(update={"stages": stages, "model": stages[0].model})


def check_keys(config: ModelConfig) -> None:
    """Check that a cascade has no setting that belongs to one of its stages.

    Raises:
        ConfigError: It has.
    """
    for key in OF_A_STAGE:
        if config.stages and getattr(config, key):
            name = FIELDS.get(key, "EngineArgs")
            message = f"{name}: `{key}` belongs to one model, and the model has stages."
            raise ConfigError(message, hint=f"Set `{key}` in one of the `stages` of EngineArgs.", parameter=key)


def unused_source(config: ModelConfig, model: str) -> Iterator[str]:
    """Yield a warning if the model of a message is a Hub id that no stage of the cascade has."""
    if config.stages and is_hub_id(model) and model not in {stage.model for stage in config.stages}:
        yield f"`model` has no effect on what is loaded: the `stages` name all models, and {model} is not among them."


def _place(stage: StageConfig, index: int, folder: Path) -> StageConfig:
    """Return a stage with absolute sources; its model may also be the name of a configured model."""
    fields = {"name": f"stage-{index + 1}", **stage.settings, "model": stage.model}
    try:
        config = ModelConfig.model_validate(fields)
    except ValidationError as error:
        message = describe_problem(("stages", index, *error.errors()[0]["loc"]), error.errors()[0])
        raise ConfigError(message, parameter=f"stages.{index}") from error
    placed = resolve_sources(Entry(config, folder), folder)[0].config
    settings = {name: getattr(placed, name) for name in stage.settings}
    model = placed.model if existing_path(stage.model, folder) else stage.model
    return StageConfig(model=model, task=stage.task, params=stage.params, **settings)
