"""Request bodies of the inference API: inputs, and parameters."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from octabox.frontends.naming.aliases import ControlAliases
from octabox.frontends.naming.fields import ExtraFields, StrictNumber


class TargetSize(BaseModel):
    """Size of the output in pixels."""

    model_config = ConfigDict(extra="forbid")

    width: StrictNumber[int] = Field(description="Width in pixels.")
    height: StrictNumber[int] = Field(description="Height in pixels.")


class InferenceParameters(ControlAliases, ExtraFields):
    """Parameters of a request. Others than these are call parameters of the pipeline, by diffusers' names."""

    model_config = ConfigDict(extra="allow", protected_namespaces=())

    prompt: str | list[str] | None = Field(None, description="The prompt, if the inputs are a file.")
    target_size: TargetSize | None = Field(None, description="Size of the output, if the pipeline has a size.")
    seed: StrictNumber[int] | None = Field(None, description="Seed; -1 selects one at random.")
    output_format: str | None = Field(None, description="Format of the file; default: that of the Accept header.")
    output_compression: StrictNumber[int] | None = Field(None, ge=0, le=100, description="Quality of lossy formats.")


class InferenceRequest(BaseModel):
    """Body of a request in JSON."""

    model_config = ConfigDict(extra="forbid")

    inputs: str | list[str] | None = Field(
        None, description="The prompt, or a file in base64: an image, a video or audio."
    )
    parameters: InferenceParameters = Field(
        default_factory=lambda: InferenceParameters.model_validate({}), description="Parameters of the request."
    )
    options: dict[str, Any] | None = Field(None, description="Accepted for compatibility, with a warning.")

    @field_validator("parameters", mode="before")
    @classmethod
    def _null_is_default(cls, value: Any) -> Any:
        """Replace null by no parameters."""
        return {} if value is None else value
