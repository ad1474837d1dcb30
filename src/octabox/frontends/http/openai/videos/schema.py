"""Request body of the videos API."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from octabox.frontends.naming.fields import ExtraFields, StrictNumber
from octabox.media.formats import MAX_FPS


class VideoRequest(ExtraFields):
    """Body of a request for a video. Other fields are call parameters of the pipeline, by diffusers' names."""

    model: str | None = Field(None, description="Name of a model; default: the first that generates videos.")
    prompt: str | None = Field(None, description="The prompt.")
    seconds: StrictNumber[float] | None = Field(
        None, gt=0, le=3600, description="Length of the video; default: that of the model."
    )
    size: str | None = Field(None, description='"WIDTHxHEIGHT", or "auto" for the default size of the model.')
    input_reference: str | dict[str, Any] | None = Field(None, description="An image or a video to start from.")
    fps: StrictNumber[float] | None = Field(None, gt=0, le=MAX_FPS, description="Frames per second.")
    output_format: str | None = Field(None, description="mp4, webm, gif or webp.")
    output_compression: StrictNumber[int] | None = Field(None, ge=0, le=100, description="Quality of lossy formats.")
    user: str | None = Field(None, description="Accepted for compatibility.")
    seed: StrictNumber[int] | None = Field(None, description="Seed; -1 selects one at random.")
    task: str | None = Field(None, description="Task of the Hub, such as image-to-video.")
    scheduler: str | dict[str, Any] | None = Field(None, description='A name, or {"name": ..., settings}.')
