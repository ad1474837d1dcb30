"""The stages of a cascade: models that run one after another for one request."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from octabox.config.sections.paths import PathText

#: Minimum number of stages.
MIN_STAGES = 2

#: Keys of a model that belong to its files, which the stages of a cascade have themselves.
OF_A_STAGE = (
    "pipeline",
    "config",
    "revision",
    "variant",
    "scheduler",
    "prediction_type",
    "components",
    "adapters",
    "ip_adapters",
    "allow_remote_code",
)

#: Keys of a cascade that are not settings of its stages.
OF_THE_CASCADE = frozenset({"name", "aliases", "model", "stages", "description", "preset", "path", "defaults"})


class StageConfig(BaseModel):
    """A stage of a cascade; it may have the keys of a model in addition."""

    model_config = ConfigDict(extra="allow", frozen=True, protected_namespaces=())

    model: PathText = Field(
        description="Name of a configured model; or a Hub id, folder or file, which becomes a separate model.",
        min_length=1,
    )
    task: str | None = Field(default=None, description="Hub task of the stage, if its inputs leave that open.")
    params: dict[str, Any] = Field(default_factory=dict, description="Call parameters of the stage.")

    @property
    def settings(self) -> dict[str, Any]:
        """The keys of a model that the stage sets."""
        return dict(self.model_extra or {})


class Staged(BaseModel):
    """A model that may be a cascade of others."""

    model_config = ConfigDict(frozen=True, protected_namespaces=())

    stages: tuple[StageConfig, ...] = Field(
        default=(),
        description="Models that run one after another, each with the outputs of the ones before it, in place of `model`.",
    )

    @model_validator(mode="before")
    @classmethod
    def _source_of_the_first(cls, fields: Any) -> Any:
        """Set the model of a cascade, which is that of its first stage."""
        stages = fields.get("stages") if isinstance(fields, dict) else None
        first = stages[0] if isinstance(stages, list | tuple) and stages else None
        source = first.get("model") if isinstance(first, dict) else getattr(first, "model", first)
        return {"model": source, **fields} if isinstance(source, str) else fields

    @field_validator("stages", mode="before")
    @classmethod
    def _stages_by_name(cls, value: Any) -> Any:
        """Accept the name of a model for a stage."""
        if not isinstance(value, list | tuple):
            return value
        return [{"model": each} if isinstance(each, str) else each for each in value]

    @field_validator("stages")
    @classmethod
    def _several(cls, value: tuple[StageConfig, ...]) -> tuple[StageConfig, ...]:
        """Refuse a single stage."""
        if value and len(value) < MIN_STAGES:
            raise ValueError("must have two stages or more")
        return value
