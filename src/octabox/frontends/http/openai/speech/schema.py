"""Request body of the speech API."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from octabox.frontends.naming.fields import ExtraFields, StrictNumber


class SpeechRequest(ExtraFields):
    """Body of a request for audio. Other fields are call parameters of the pipeline, by diffusers' names."""

    model: str | None = Field(None, description="Name of a model; default: the first that generates audio.")
    input: str | None = Field(None, description="The prompt.")
    voice: str | dict[str, Any] | None = Field(None, description="A voice, if the model has voices.")
    response_format: str | None = Field(None, description="mp3, wav or flac.")
    speed: StrictNumber[float] | None = Field(
        None, ge=0.25, le=4.0, description="Speed, if the model has a parameter for it."
    )
    instructions: str | None = Field(None, description="Instructions, if the model has a parameter for them.")
    stream_format: str | None = Field(None, description="audio.")
    seed: StrictNumber[int] | None = Field(None, description="Seed; -1 selects one at random.")
    task: str | None = Field(None, description="Task of the Hub, such as text-to-audio.")
    scheduler: str | dict[str, Any] | None = Field(None, description='A name, or {"name": ..., settings}.')
