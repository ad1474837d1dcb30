"""Request bodies of LocalAI's routes that OpenAI's API does not have."""

from __future__ import annotations

from typing import Any

from pydantic import Field, field_validator

from octabox.frontends.naming.fields import ExtraFields, StrictNumber
from octabox.media.formats import MAX_FPS


class LocalAIRequest(ExtraFields):
    """Fields of all bodies. Other fields are call parameters of the pipeline, by diffusers' names."""

    model: str | None = Field(None, description="Name of a model.")
    prompt: str | None = Field(None, description='The prompt; "positive|negative" sets both prompts.')
    negative_prompt: str | None = Field(None, description="The negative prompt.")
    seed: StrictNumber[int] | None = Field(None, description="Seed; -1 selects one at random.")
    response_format: str | dict[str, Any] | None = Field(None, description='"url" or "b64_json".')
    output_format: str | None = Field(None, description="Format of the file, such as png, webp, mp4 or webm.")
    task: str | None = Field(None, description="Task of the Hub, such as inpainting.")
    scheduler: str | dict[str, Any] | None = Field(None, description='A name, or {"name": ..., settings}.')


class InpaintingForm(LocalAIRequest):
    """Form to inpaint an image, sent with the files `image` and `mask`."""

    n: StrictNumber[int] = Field(1, ge=1, description="Number of images.")
    size: str | None = Field(None, description='"WIDTHxHEIGHT", or "auto" for the default size of the model.')


class UpscaleForm(LocalAIRequest):
    """Form to upscale an image, sent with the file `image`."""

    scale: StrictNumber[int] | None = Field(None, description="2 or 4; default: the factor of the model.")


class VideoRequest(LocalAIRequest):
    """Body of a request for a video. For width, height, frames and rate, 0 is the default, as in LocalAI."""

    start_image: str | None = Field(None, description="First image: a URL, base64 or a data URI.")
    end_image: str | None = Field(None, description="Last image.")
    audio: str | None = Field(None, description="Audio to condition the video on.")
    input_reference: str | None = Field(None, description="An image or a video to condition the video on.")
    width: StrictNumber[int] | None = Field(None, ge=0, description="Width in pixels.")
    height: StrictNumber[int] | None = Field(None, ge=0, description="Height in pixels.")
    size: str | None = Field(None, description='"WIDTHxHEIGHT", or "auto" for the default size of the model.')
    num_frames: StrictNumber[int] | None = Field(None, ge=0, description="Number of frames.")
    fps: StrictNumber[float] | None = Field(None, ge=0, le=MAX_FPS, description="Frames per second.")
    seconds: StrictNumber[float] | None = Field(
        None, ge=0, le=3600, description="Length; a text with a number is accepted."
    )
    step: StrictNumber[int] | None = Field(None, ge=0, description="Number of steps.")
    cfg_scale: StrictNumber[float] | None = Field(None, description="Guidance scale; 0 is zero, not the default.")
    params: dict[str, Any] = Field(default_factory=dict, description="Other call parameters; text is parsed as JSON.")

    @field_validator("params", mode="before")
    @classmethod
    def _null_is_empty(cls, value: Any) -> Any:
        """Replace null by an empty object."""
        return {} if value is None else value
