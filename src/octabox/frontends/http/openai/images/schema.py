"""Request bodies of the images API: fields of OpenAI and LocalAI, and call parameters of the pipeline."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ConfigDict, Field, field_validator

from octabox.frontends.http.bodies import check_fields
from octabox.frontends.naming.aliases import ControlAliases
from octabox.frontends.naming.fields import ExtraFields, StrictNumber


class ImageRequest(ControlAliases, ExtraFields):
    """Body of a request for images. Other fields are call parameters of the pipeline, by diffusers' names."""

    model_config = ConfigDict(extra="allow", protected_namespaces=())

    model: str | None = Field(None, description="Name of a model; default: the first that makes images.")
    prompt: str | list[str] | None = Field(None, description='The prompt; "positive|negative" sets both prompts.')
    negative_prompt: str | list[str] | None = Field(None, description="The negative prompt.")
    n: StrictNumber[int] = Field(1, ge=1, description="Number of images.")
    size: str | None = Field(None, description='"WIDTHxHEIGHT", or "auto" for the default size of the model.')
    quality: str | int | None = Field(None, description="A number sets the number of steps.")
    response_format: str | dict[str, Any] | None = Field(
        None,
        description='"url" or "b64_json"; default: that of the model or the server.',
    )
    output_format: str | None = Field(None, description="png, jpeg or webp.")
    output_compression: StrictNumber[int] | None = Field(None, ge=0, le=100, description="Quality of jpeg and webp.")
    stream: bool = Field(default=False, description="Whether to respond with server-sent events.")
    partial_images: StrictNumber[int] = Field(0, ge=0, le=3, description="Number of previews in a stream.")
    user: str | None = Field(None, description="Accepted for compatibility.")
    safety_identifier: str | None = Field(None, description="Accepted for compatibility.")
    complexity: str | None = Field(None, description="Accepted for compatibility.")
    background: str | None = Field(None, description="Accepted for compatibility.")
    moderation: str | None = Field(None, description="Accepted for compatibility.")
    style: str | None = Field(None, description="Accepted for compatibility.")
    input_fidelity: str | None = Field(None, description="Accepted for compatibility.")
    backend: str | None = Field(None, description="Accepted for compatibility.")
    seed: StrictNumber[int] | None = Field(None, description="Seed of the first image; -1 selects one at random.")
    task: str | None = Field(None, description="Task of the Hub, such as image-to-image.")

    @field_validator("n", "stream", "partial_images", mode="before")
    @classmethod
    def _null_is_default(cls, value: Any, info: Any) -> Any:
        """Replace null by the default, as OpenAI's API does."""
        return cls.model_fields[info.field_name].default if value is None else value


def parse_fields(fields: Mapping[str, Any]) -> ImageRequest:
    """Return the fields of a request, validated.

    Raises:
        InvalidParameterError: A field has an invalid value.
        InvalidRequestError: Several fields have.
    """
    return check_fields(ImageRequest, fields)
