"""What a request is made of beside its options: prompts from files, and what an image was made from."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from octabox.engine.protocol import Call
from octabox.errors import InvalidParameterError, MediaError, MissingParameterError
from octabox.service.provenance import in_words

if TYPE_CHECKING:
    from octabox.service.models import ModelService


def prompts_of(given: tuple[str, ...], file: Path | None) -> list[str]:
    """Return the prompts of a command line, then those of a file: one in each line, less empty ones and remarks (`#`).

    Raises:
        InvalidParameterError: The file cannot be read, or has no prompts.
    """
    if file is None:
        return list(given)
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidParameterError(f"'{file}' cannot be read: {error}.", parameter="prompt") from error
    found = [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
    if not found:
        raise InvalidParameterError(f"'{file}' has no prompts.", hint="Write one in each line.", parameter="prompt")
    return [*given, *found]


def facts_of(file: Path) -> dict[str, Any]:
    """Return what a file was made from: as we wrote it, else as the AUTOMATIC1111 web UI did.

    Raises:
        MediaError: The file cannot be read, or does not tell.
    """
    from octabox.media.metadata.chunks import read, read_parameters

    try:
        data = file.read_bytes()
    except OSError as error:
        raise MediaError(f"'{file}' cannot be read: {error.strerror}.") from error
    facts = read(data) or read_parameters(data)
    if not facts:
        hint = "It may have been written by another program, or sent by one that leaves such things out."
        raise MediaError(f"'{file}' does not tell what it was made from.", hint=hint)
    return facts


def model_of(facts: Mapping[str, Any], given: str | None) -> str:
    """Return the model of a request: the one that is given, else the one that made the file.

    Raises:
        MissingParameterError: There is neither.
    """
    model = given or (facts.get("model") if "pipeline" in facts else None)
    if not model:
        hint = "Write it before the prompt: octabox run demo 'a red star'."
        made_by = f" The file was made by '{facts['model']}', elsewhere." if facts.get("model") else ""
        raise MissingParameterError(f"No model is given.{made_by}", hint=hint, parameter="model")
    return str(model)


def use_performance(models: ModelService, name: str, facts: Mapping[str, Any], profile: str | None) -> None:
    """Let a model run by a performance profile, or as a file that is to be made again was made.

    Args:
        models: The models, of which one is changed.
        name: Name of the model.
        facts: What the file was made from; nothing where there is none.
        profile: The profile that is given; it is stronger than the file's.

    Raises:
        InvalidParameterError: There is no such profile.
    """
    from octabox.config.performance import PROFILES, PerformanceConfig

    if profile is not None and profile not in PROFILES:
        message = f"There is no performance profile '{profile}'."
        hint = f"There are: {', '.join(PROFILES)}."
        raise InvalidParameterError(message, hint=hint, parameter="profile", choices=PROFILES)
    config = models.config(name)
    performance = config.performance
    if "pipeline" in facts:
        # Results that differ from diffusers' own say so; all others are exact.
        performance = PerformanceConfig.model_validate(facts.get("performance") or {"profile": "exact"})
    if profile is not None:
        performance = PerformanceConfig.model_validate({**performance.given, "profile": profile})
    if performance != config.performance:
        models.add(config.model_copy(update={"performance": performance}))


def check_inputs(facts: Mapping[str, Any], given: Collection[str]) -> None:
    """See to it that what an output was made from is given again; the files themselves are not in it.

    Args:
        facts: What it was made from.
        given: Names of the inputs of the command line.

    Raises:
        MissingParameterError: One is not given.
    """
    for name, media in _inputs_of(facts).items():
        if name not in given:
            message = f"It was made from '{name}', which is not given: {in_words(media)}."
            raise MissingParameterError(message, hint=f"Give it again: -i {name}=FILE", parameter=name)


def other_inputs(facts: Mapping[str, Any], call: Call) -> list[str]:
    """Return a warning for each input of a call that is not what the facts say that there was."""
    was = _inputs_of(facts)
    # Through JSON, as the facts have been.
    return [
        f"'{name}' is not what it was made from, which was {in_words(was[name])}; this is {in_words(media)}."
        for name, media in json.loads(json.dumps(call.brought)).items()
        if name in was and media != was[name]
    ]


def _inputs_of(facts: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the inputs that facts tell of; another program's, or an older file's, tell of none."""
    inputs = facts.get("inputs")
    return inputs if isinstance(inputs, dict) else {}
