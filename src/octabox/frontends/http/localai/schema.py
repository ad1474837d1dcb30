"""What LocalAI's clients send, beside what OpenAI's send too. Fields that are not listed are call parameters."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from octabox.media.formats import MAX_FPS


class LocalAIRequest(BaseModel):
    """What all of them have."""

    model_config = ConfigDict(extra="allow", protected_namespaces=())

    model: str | None = Field(None, description="Name of a model.")
    prompt: str | None = Field(None, description='What to show; "positive|negative" gives both prompts.')
    negative_prompt: str | None = Field(None, description="What not to show.")
    seed: int | None = Field(None, description="Seed; -1 draws one at random.")
    response_format: str | dict[str, Any] | None = Field(None, description='"url" or "b64_json".')
    output_format: str | None = Field(None, description="Format of the file, such as png, webp, mp4 or webm.")
    task: str | None = Field(None, description="Task of the Hub, such as inpainting.")
    scheduler: str | dict[str, Any] | None = Field(None, description='A name, or {"name": ..., settings}.')

    @field_validator("seed", mode="before")
    @classmethod
    def _refuse_booleans(cls, value: Any) -> Any:
        """Take no true for 1."""
        if isinstance(value, bool):
            raise ValueError("is no number")  # noqa: TRY004 (pydantic's way to refuse)
        return value

    @property
    def others(self) -> dict[str, Any]:
        """The fields that are not listed; null stands for not given."""
        return {name: value for name, value in (self.model_extra or {}).items() if value is not None}


class InpaintingForm(LocalAIRequest):
    """A form that asks for a part of an image to be painted again: the files `image` and `mask` beside it."""

    n: int = Field(1, ge=1, description="How many images to make.")
    size: str | None = Field(None, description='"WIDTHxHEIGHT", or "auto" for what the model is best at.')


class UpscaleForm(LocalAIRequest):
    """A form that asks for a larger image: the file `image` beside it."""

    scale: int | None = Field(None, description="2 or 4; what the model makes, if not given.")


class VideoRequest(LocalAIRequest):
    """A request for a video. Of width, height, frames and rate, 0 stands for not given, as in LocalAI."""

    start_image: str | None = Field(None, description="Image to begin with: a URL, base64 or a data URI.")
    end_image: str | None = Field(None, description="Image to end with.")
    audio: str | None = Field(None, description="Audio to go by.")
    input_reference: str | None = Field(None, description="An image or a video to go by.")
    width: int | None = Field(None, ge=0, description="In pixels.")
    height: int | None = Field(None, ge=0, description="In pixels.")
    size: str | None = Field(None, description='"WIDTHxHEIGHT", or "auto" for what the model is best at.')
    num_frames: int | None = Field(None, ge=0, description="How many frames to make.")
    fps: float | None = Field(None, ge=0, le=MAX_FPS, description="Frames a second.")
    seconds: float | None = Field(None, ge=0, le=3600, description="How long it is; text with a number is one too.")
    step: int | None = Field(None, ge=0, description="How many steps to take.")
    cfg_scale: float | None = Field(None, description="How closely to follow the prompt; 0 is zero.")
    params: dict[str, Any] = Field(default_factory=dict, description="Further call parameters; text is read as JSON.")

    @field_validator("params", mode="before")
    @classmethod
    def _null_is_none(cls, value: Any) -> Any:
        """Take null for no parameters."""
        return {} if value is None else value
