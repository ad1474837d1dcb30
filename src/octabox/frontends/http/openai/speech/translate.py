"""Translate requests of the speech API to generation requests."""

from __future__ import annotations

from typing import Any

from octabox.errors import InvalidParameterError, MissingParameterError
from octabox.frontends.http.openai.speech.schema import SpeechRequest
from octabox.frontends.naming.renaming import rename_error_params
from octabox.media.formats import check_output_format
from octabox.schedulers.names import parse_scheduler_choice
from octabox.service.planning import parse_seed
from octabox.service.protocols import Models
from octabox.service.selection.models import PipelineMatch, first_model_for, select_pipeline
from octabox.types import GenerationRequest, OutputFormat

#: OpenAI's default format.
DEFAULT_FORMAT = "mp3"

#: The voice that clients send where they have to send one.
DEFAULT_VOICE = "alloy"

#: The client's names of parameters.
CLIENT_NAMES = {"prompt": "input", "output_format": "response_format"}


def match_pipeline(models: Models, body: SpeechRequest) -> PipelineMatch:
    """Return the pipeline that generates the audio.

    Raises:
        InvalidParameterError: The model generates no audio, or takes no prompt.
    """
    match = select_pipeline(models, body.model or first_model_for(models, "audio"), "audio", body.task)
    if not match.entry.parameter("prompt"):
        hint = "Use `POST /v1/generations`, which takes every parameter by its own name."
        message = f"Model '{match.model}' takes no prompt."
        raise InvalidParameterError(message, hint=hint, model=match.model, parameter="input")
    return match


def to_request(body: SpeechRequest, match: PipelineMatch) -> tuple[GenerationRequest, tuple[str, ...]]:
    """Return the generation request for a body, and warnings about fields without effect.

    Raises:
        RequestError: A field is missing, has an invalid value, or is not supported by the model.
    """
    if not (body.input or "").strip():
        hint = "Describe the audio."
        raise MissingParameterError("'input' is missing or empty.", hint=hint, parameter="input")
    if "prompt" in body.extra_fields:
        message = "'input' and 'prompt' are the same parameter."
        raise InvalidParameterError(message, hint="Send one of them.", parameter="prompt")
    if body.stream_format not in (None, "audio"):
        message = f"'stream_format' must be audio, not {body.stream_format[:50]!r}."
        raise InvalidParameterError(message, parameter="stream_format", choices=("audio",))
    params, warnings = _voice_parameters(body, match)
    output = OutputFormat(body.response_format or DEFAULT_FORMAT)
    with rename_error_params(CLIENT_NAMES):
        check_output_format(output, "audio")
    request = GenerationRequest(
        model=match.model,
        task=body.task or match.task,
        params={**body.extra_fields, "prompt": body.input, **params},
        optional_params=body.null_fields,
        seed=parse_seed(body.seed),
        scheduler=parse_scheduler_choice(body.scheduler),
        output=output,
    )
    return request, warnings


def _voice_parameters(body: SpeechRequest, match: PipelineMatch) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return the call parameters for voice, speed and instructions, and warnings about those without effect."""
    voice = body.voice.get("id") if isinstance(body.voice, dict) else body.voice
    values = {"voice": voice, "speed": body.speed, "instructions": body.instructions}
    defaults = {"voice": DEFAULT_VOICE, "speed": 1.0}
    params, warnings = dict[str, Any](), list[str]()
    for name, value in values.items():
        if value in (None, ""):
            continue
        if match.entry.parameter(name):
            params[name] = value
        elif value != defaults.get(name):
            raise InvalidParameterError(
                f"'{name}' is not supported: {match.entry.name} has no such parameter.",
                hint=f"Leave it out, or send {defaults[name]!r}." if name in defaults else "Leave it out.",
                model=match.model,
                parameter=name,
            )
        elif name == "voice":
            warnings.append(f"'voice' has no effect: {match.entry.name} has no voices.")
    return params, tuple(warnings)
