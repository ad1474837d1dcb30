"""Translate LocalAI's message for audio to a generation request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from octabox.catalog.entries import ParameterKind
from octabox.errors import InvalidParameterError
from octabox.frontends.grpc.localai.contract import Message
from octabox.frontends.grpc.localai.making.requests import Context, format_of_path, nonzero, prompt_parameters
from octabox.service.selection.inputs import SECONDS, InputBindings
from octabox.types import GenerationRequest, OutputFormat, Source

#: Fields that are passed where they are set, also if they are 0 or false.
SET = ("temperature", "sample")

#: Numbers and texts, of which 0 and empty ones are the defaults of the model.
NUMBERS, TEXTS = ("bpm", "src_divisor"), ("lyrics", "keyscale", "language", "timesignature")

#: Switches, of which false is what a model does without them.
SWITCHES = ("think", "instrumental")

#: Kinds of the parameters that take a value of each type.
KINDS: Mapping[type, tuple[ParameterKind, ...]] = {
    bool: ("boolean",),
    int: ("integer", "number"),
    float: ("integer", "number"),
    str: ("text",),
}

#: Lyrics by which models of songs know that nobody sings; some refuse empty lyrics.
INSTRUMENTAL = "[Instrumental]"


def audio_request(message: Message, context: Context) -> GenerationRequest:
    """Return the generation request for SoundGeneration.

    A field without a parameter of the pipeline is passed by its own name, and so becomes a warning.

    Raises:
        RequestError: A field has an invalid value, or is not supported by the model.
    """
    bindings = context.bindings.making("audio")
    inputs: dict[str, tuple[Source, ...]] = {}
    if message.src:
        inputs[bindings.medium("audio", "src")] = (context.read(message.src, "src"),)
    params: dict[str, Any] = {}
    if message.HasField("duration"):
        name = bindings.number(*SECONDS)
        if name is None:
            message_text = f"{bindings.preferred.name} makes audio of a fixed length."
            raise InvalidParameterError(message_text, hint="Leave duration out.", parameter="duration")
        params[name] = message.duration
    optional = {_parameter(bindings, name, value) or name: value for name, value in _values(message, bindings).items()}
    return GenerationRequest(
        model=bindings.model,
        params=params,
        optional_params={**optional, **prompt_parameters(message.text or message.caption, context)},
        inputs=inputs,
        output=OutputFormat(format_of_path(message.dst, "audio")),
    )


def _values(message: Message, bindings: InputBindings) -> dict[str, Any]:
    """Return the fields that describe the audio, by their names in the message.

    Raises:
        InvalidParameterError: A number is negative, or there are lyrics for audio without a voice.
    """
    values = {name: getattr(message, name) for name in SET if message.HasField(name)}
    values |= nonzero({name: getattr(message, name) for name in NUMBERS})
    values |= {name: value for name in (*TEXTS, *SWITCHES) if (value := getattr(message, name))}
    if message.text and message.caption:
        values["caption"] = message.caption
    if message.instrumental and message.lyrics:
        text = "'instrumental' and 'lyrics' exclude each other."
        raise InvalidParameterError(text, hint="Leave one of them out.", parameter="instrumental")
    has_switch, has_lyrics = _parameter(bindings, "instrumental", True), _parameter(bindings, "lyrics", INSTRUMENTAL)
    if message.instrumental and has_lyrics and not has_switch:
        del values["instrumental"]
        values["lyrics"] = INSTRUMENTAL
    return values


def _parameter(bindings: InputBindings, field: str, value: object) -> str | None:
    """Return the parameter for a field: the one of the same name, else one such as `vocal_language` for `language`."""
    kinds = KINDS[type(value)]
    names = [each.name for entry in bindings.entries for each in entry.parameters if each.kind in kinds]
    return next((name for name in names if name == field), None) or next(
        (name for name in names if name.endswith(f"_{field}")), None
    )
