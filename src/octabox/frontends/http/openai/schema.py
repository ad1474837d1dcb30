"""What clients send: OpenAI's fields and LocalAI's, and any call parameter of the pipeline beside them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ConfigDict, Field, field_validator

from octabox.frontends.http.bodies import check_fields
from octabox.frontends.naming.aliases import ControlAliases


class ImageRequest(ControlAliases):
    """A request for images. Fields that are not listed are call parameters of the pipeline, by their own names."""

    model_config = ConfigDict(extra="allow", protected_namespaces=())

    model: str | None = Field(None, description="Name of a model; the first of the list, if not given.")
    prompt: str | list[str] | None = Field(None, description='What to paint; "positive|negative" gives both prompts.')
    negative_prompt: str | list[str] | None = Field(None, description="What not to paint.")
    n: int = Field(1, ge=1, description="How many images to make.")
    size: str | None = Field(None, description='"WIDTHxHEIGHT", or "auto" for what the model is best at.')
    quality: str | int | None = Field(None, description="A number is the number of steps.")
    response_format: str | dict[str, Any] | None = Field(None, description='"url" or "b64_json".')
    output_format: str | None = Field(None, description="png, jpeg or webp.")
    output_compression: int | None = Field(None, ge=0, le=100, description="Quality of jpeg and webp.")
    stream: bool = Field(default=False, description="Whether to answer with server-sent events.")
    partial_images: int = Field(0, ge=0, le=3, description="How many unfinished images to send in a stream.")
    user: str | None = Field(None, description="Taken for compatibility.")
    background: str | None = Field(None, description="Taken for compatibility.")
    moderation: str | None = Field(None, description="Taken for compatibility.")
    style: str | None = Field(None, description="Taken for compatibility.")
    input_fidelity: str | None = Field(None, description="Taken for compatibility.")
    backend: str | None = Field(None, description="Taken for compatibility.")
    seed: int | None = Field(None, description="Seed of the first image; -1 draws one at random.")
    task: str | None = Field(None, description="Task of the Hub, such as image-to-image.")

    @field_validator("n", "seed", "partial_images", "output_compression", mode="before")
    @classmethod
    def _refuse_booleans(cls, value: Any) -> Any:
        """Take no true for 1."""
        if isinstance(value, bool):
            raise ValueError("is no number")  # noqa: TRY004 (pydantic's way to refuse)
        return value

    @field_validator("n", "stream", "partial_images", mode="before")
    @classmethod
    def _null_is_default(cls, value: Any, info: Any) -> Any:
        """Take null for not given, as OpenAI's API does."""
        return cls.model_fields[info.field_name].default if value is None else value

    @property
    def others(self) -> dict[str, Any]:
        """The fields that are not listed; null stands for not given."""
        return {name: value for name, value in (self.model_extra or {}).items() if value is not None}


def from_fields(fields: Mapping[str, Any]) -> ImageRequest:
    """Check the fields of a request.

    Raises:
        InvalidParameterError: A field has a wrong value.
        InvalidRequestError: Several have.
    """
    return check_fields(ImageRequest, fields)
