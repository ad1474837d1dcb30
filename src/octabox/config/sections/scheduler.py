"""The keys of a model for its noise scheduler."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

#: What a denoiser predicts, in the words of diffusers' schedulers.
PredictionType = Literal["epsilon", "v_prediction", "sample", "flow_prediction"]


class SchedulerConfig(BaseModel):
    """A noise scheduler: its class or an alias, and settings of its constructor."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    name: str = Field(description="Class or alias; `octabox schedulers` lists them.")
    settings: dict[str, Any] = Field(
        default_factory=dict, description="Settings of its constructor; they may be given next to the name as well."
    )


class Scheduled(BaseModel):
    """A model with a noise scheduler."""

    model_config = ConfigDict(frozen=True, protected_namespaces=())

    scheduler: SchedulerConfig | None = Field(default=None, description="Noise scheduler that replaces the model's.")
    prediction_type: PredictionType | None = Field(
        default=None,
        description="What the model predicts, for all schedulers: epsilon, v_prediction, sample or flow_prediction. "
        "Default: what its files state.",
    )

    @field_validator("scheduler", mode="before")
    @classmethod
    def _scheduler_by_name(cls, value: Any) -> Any:
        """Accept ``euler_a`` for ``{name: euler_a}``, and settings next to the name."""
        if isinstance(value, str):
            return {"name": value}
        if isinstance(value, dict) and "settings" not in value:
            settings = {key: each for key, each in value.items() if key != "name"}
            return {key: each for key, each in value.items() if key == "name"} | {"settings": settings}
        return value

    @property
    def own_scheduler_settings(self) -> dict[str, Any]:
        """Settings that replace those of the model's own scheduler, from which each other one is built."""
        return {} if self.prediction_type is None else {"prediction_type": self.prediction_type}

    @property
    def scheduler_settings(self) -> dict[str, Any]:
        """The settings of the scheduler in this configuration, which take precedence over what the files of the model state."""
        return {**(self.scheduler.settings if self.scheduler else {}), **self.own_scheduler_settings}
