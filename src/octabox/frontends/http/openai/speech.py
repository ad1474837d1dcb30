"""The route that makes audio from words."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from octabox.errors import GenerationError, InvalidParameterError, MissingParameterError
from octabox.frontends.http.bodies import check_fields, read_json
from octabox.frontends.http.context import AppContext
from octabox.frontends.http.disconnect import cancel_on_disconnect
from octabox.frontends.http.errors import rename_error_params
from octabox.media.formats import check_output_format
from octabox.schedulers.names import parse_scheduler_choice
from octabox.service.selection.models import PipelineMatch, first_model_for, select_pipeline
from octabox.types import Artifact, GenerationRequest, OutputFormat

#: The format of OpenAI's API where a request names none.
USUAL_FORMAT = "mp3"

#: The voice that clients send because they must send one.
USUAL_VOICE = "alloy"

#: Headers of an answer: the seed, and what has no effect.
SEED, WARNINGS = HEADERS = ("x-octabox-seed", "x-octabox-warnings")

#: The client's words for what other rooms call otherwise.
SPELLED = {"prompt": "input", "output_format": "response_format"}


class SpeechRequest(BaseModel):
    """A request for audio. Fields that are not listed are call parameters of the pipeline, by their own names."""

    model_config = ConfigDict(extra="allow", protected_namespaces=())

    model: str | None = Field(None, description="Name of a model; the first that makes audio, if not given.")
    input: str | None = Field(None, description="What is to be heard.")
    voice: str | dict[str, Any] | None = Field(None, description="A voice, where the model has some.")
    response_format: str | None = Field(None, description="mp3, wav or flac.")
    speed: float | None = Field(None, ge=0.25, le=4.0, description="How fast, where the model can be told.")
    instructions: str | None = Field(None, description="How to speak, where the model can be told.")
    stream_format: str | None = Field(None, description="audio.")
    seed: int | None = Field(None, description="Seed; -1 draws one at random.")
    task: str | None = Field(None, description="Task of the Hub, such as text-to-audio.")
    scheduler: str | dict[str, Any] | None = Field(None, description='A name, or {"name": ..., settings}.')

    @property
    def others(self) -> dict[str, Any]:
        """The fields that are not listed; null stands for not given."""
        return {name: value for name, value in (self.model_extra or {}).items() if value is not None}


def routes(ctx: AppContext) -> APIRouter:
    """Return the routes."""
    router = APIRouter(prefix="/audio", tags=["audio"])
    content = {"application/json": {"schema": SpeechRequest.model_json_schema()}}

    @router.post("/speech", openapi_extra={"requestBody": {"required": True, "content": content}})
    async def speech(request: Request) -> Response:
        """Make audio from words, and answer with the file."""
        body = check_fields(SpeechRequest, await read_json(request, '{"model": "...", "input": "..."}'))
        maker = await asyncio.to_thread(_maker, ctx, body)
        wanted, warnings = to_request(body, maker)
        with rename_error_params(SPELLED):
            generation = await cancel_on_disconnect(request.receive, ctx.generation.generate(wanted))
        audio = _audio(generation.artifacts)
        told = " ".join([*warnings, *generation.warnings])
        headers = {SEED: str(audio.seed)} if audio.seed is not None else {}
        if told:
            # A header is one line of ASCII.
            headers[WARNINGS] = " ".join(told.encode("ascii", "replace").decode().split())
        return Response(audio.content, media_type=audio.media_type, headers=headers)

    return router


def to_request(body: SpeechRequest, maker: PipelineMatch) -> tuple[GenerationRequest, tuple[str, ...]]:
    """Return what a client wants, and what of it has no effect.

    Raises:
        RequestError: A field is missing, has a wrong value, or asks for what the model cannot do.
    """
    if not (body.input or "").strip():
        hint = "Say what is to be heard."
        raise MissingParameterError("'input' is missing or empty.", hint=hint, parameter="input")
    if body.stream_format not in (None, "audio"):
        message = f"'stream_format' must be audio, not {body.stream_format[:50]!r}."
        raise InvalidParameterError(message, parameter="stream_format", choices=("audio",))
    params, warnings = _manner(body, maker)
    output = OutputFormat(body.response_format or USUAL_FORMAT)
    with rename_error_params(SPELLED):
        check_output_format(output, "audio")
    request = GenerationRequest(
        model=maker.model,
        task=body.task or maker.task,
        params={**body.others, "prompt": body.input, **params},
        seed=None if body.seed == -1 else body.seed,
        scheduler=parse_scheduler_choice(body.scheduler),
        output=output,
    )
    return request, warnings


def _maker(ctx: AppContext, body: SpeechRequest) -> PipelineMatch:
    """Return the pipeline that makes the audio."""
    maker = select_pipeline(ctx.models, body.model or first_model_for(ctx.models, "audio"), "audio", body.task)
    if not maker.entry.parameter("prompt"):
        hint = "Use `POST /v1/generations`, which takes every parameter by its own name."
        message = f"Model '{maker.model}' takes no words."
        raise InvalidParameterError(message, hint=hint, model=maker.model, parameter="input")
    return maker


def _manner(body: SpeechRequest, maker: PipelineMatch) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return the parameters that say how to speak, and what of it has no effect."""
    voice = body.voice.get("id") if isinstance(body.voice, dict) else body.voice
    given = {"voice": voice, "speed": body.speed, "instructions": body.instructions}
    usual = {"voice": USUAL_VOICE, "speed": 1.0}
    params, warnings = dict[str, Any](), list[str]()
    for name, value in given.items():
        if value in (None, ""):
            continue
        if maker.entry.parameter(name):
            params[name] = value
        elif value != usual.get(name):
            raise InvalidParameterError(
                f"'{name}' cannot be chosen: {maker.entry.name} has no such parameter.",
                hint=f"Leave it out, or send {usual[name]!r}." if name in usual else "Leave it out.",
                model=maker.model,
                parameter=name,
            )
        elif name == "voice":
            warnings.append(f"'voice' has no effect: {maker.entry.name} has no voices to choose from.")
    return params, tuple(warnings)


def _audio(artifacts: tuple[Artifact, ...]) -> Artifact:
    """Return what can be heard of what was made."""
    for artifact in artifacts:
        if artifact.kind == "audio":
            return artifact
    raise GenerationError("The model made no audio.")
