"""The base of all parts of a workflow, and the parts that a separate model runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from octabox.noise import MAX_SIDE


def _describe_short(schema: dict[str, Any], part: type[WorkflowPart]) -> None:
    """Add the settings that a number is short for to the schema of a part."""
    if part.short:
        schema["x-short"] = [*part.short]


class WorkflowPart(BaseModel):
    """A part of a workflow; a number is short for its main setting."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, protected_namespaces=(), json_schema_extra=_describe_short
    )

    #: The settings that a number is short for.
    short: ClassVar[tuple[str, ...]] = ()

    @model_validator(mode="before")
    @classmethod
    def _expand_number(cls, value: Any) -> Any:
        """Expand a number to the settings that it is short for; true and null mean the defaults."""
        value = {} if value is True or value is None else value
        if isinstance(value, int | float) and not isinstance(value, bool):
            value = dict.fromkeys(cls.short, value)
        if not isinstance(value, Mapping):
            return value
        settings = {name: each for name, each in value.items() if each is not None}
        return {**cls.conditional_defaults(settings), **settings}

    @classmethod
    def conditional_defaults(cls, settings: Mapping[str, Any]) -> dict[str, Any]:  # noqa: ARG003 (used by subclasses)
        """Return the defaults that depend on the other settings."""
        return {}


#: Smallest side of an image, in pixels: that of one element of the latents of nearly all models.
MIN_SIDE = 8

#: A side of an image, in pixels.
Side = Annotated[int, Field(ge=MIN_SIDE, le=MAX_SIDE)]


class NoisePart(WorkflowPart):
    """The initial noise: that of another size in the centre of that of the image, and its scale."""

    short = ("scale",)

    width: Side | None = Field(None, description="Width in pixels of the other size; that of the image, if not given.")
    height: Side | None = Field(None, description="Height in pixels of it; that of the image, if not given.")
    scale: float = Field(1.0, gt=0, le=4, allow_inf_nan=False, description="Factor of the noise.")


class SeamlessPart(WorkflowPart):
    """Opposite edges of the image that continue each other, so that it can be laid next to itself."""

    axes: Literal["x", "y", "xy"] = Field(
        "xy", description="The closed axes: left and right (x), top and bottom (y), or both."
    )


class StagePart(WorkflowPart):
    """The settings of a request for a stage of a cascade."""

    scheduler: str | dict[str, Any] | None = Field(None, description="Another noise scheduler for the stage.")
    params: dict[str, Any] = Field(
        default_factory=dict, description="Call parameters of the stage, in addition to those of its configuration."
    )


class RefinerPart(WorkflowPart):
    """Another model for the last steps."""

    short = ("switch_at",)

    model: str = Field(min_length=1, description="The model.")
    switch_at: float = Field(
        0.8, gt=0, lt=1, allow_inf_nan=False, description="Fraction of the steps after which it continues."
    )


class FacesPart(WorkflowPart):
    """A restoration of the faces in the image."""

    short = ("strength",)

    model: str | None = Field(
        None, min_length=1, description="A model that restores faces; the first one of the server, if not given."
    )
    strength: float = Field(
        1.0, gt=0, le=1, allow_inf_nan=False, description="How much of the restored faces replaces the original ones."
    )
