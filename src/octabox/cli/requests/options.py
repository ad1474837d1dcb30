"""Parts of a request that do not come from options: prompts from files, and metadata of a file to reproduce."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from octabox.errors import InvalidParameterError, MediaError, MissingParameterError

if TYPE_CHECKING:
    from octabox.config.model import ModelConfig
    from octabox.engine.protocol import Call
    from octabox.service.models.service import ServerModels


def read_prompts(model: str | None, prompts: tuple[str, ...], file: Path | None) -> list[str]:
    """Return the prompts of the command line and those of a file, one in each line without empty lines and comments (`#`).

    The file ``-`` is standard input.

    Raises:
        InvalidParameterError: The file cannot be read, or has no prompts; or the prompts are the words of one without quotes.
    """
    # A word alone is rather a part of a prompt without quotes, wherever the quotes of another part are.
    words = [prompt for prompt in prompts if len(prompt.split()) == 1]
    if len(prompts) > 1 and words:
        raise InvalidParameterError(
            f"There are {len(prompts)} prompts, and '{words[0][:50]}' is one of a single word.",
            hint=f"Write one prompt in quotes: octabox run {shlex.join([model or 'demo', ' '.join(prompts)])}. "
            "Several prompts with one of a single word may be the lines of a --prompt-file.",
            parameter="prompt",
        )
    if file is None:
        return list(prompts)
    try:
        lines = (sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8-sig")).splitlines()
    except OSError as error:
        raise InvalidParameterError(f"'{file}' cannot be read: {error.strerror}.", parameter="prompt") from error
    except UnicodeDecodeError as error:
        message = f"'{file}' is not text in UTF-8: it has the byte {error.object[error.start]:#x} at {error.start}."
        hint = f"Convert it: iconv -f latin1 -t utf-8 {shlex.quote(str(file))}"
        raise InvalidParameterError(message, hint=hint, parameter="prompt") from error
    from_file = [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
    if not from_file:
        raise InvalidParameterError(f"'{file}' has no prompts.", hint="Write one in each line.", parameter="prompt")
    return [*prompts, *from_file]


def check_count(count: int, limit: int) -> None:
    """Check the number of results of a prompt, before anything is loaded.

    Raises:
        InvalidParameterError: It is below 1, or more than a server allows by default.
    """
    if not 1 <= count <= limit:
        raise InvalidParameterError(
            f"-n must be from 1 to {limit} outputs, not {count}.",
            hint="Raise `max_outputs` in the settings, such as with OCTABOX_MAX_OUTPUTS, for more.",
            parameter="num_outputs",
        )


def read_metadata(file: Path) -> dict[str, Any]:
    """Return the generation metadata of a file, in Octabox's format or in that of the AUTOMATIC1111 web UI.

    Raises:
        MediaError: The file cannot be read, or has no metadata.
    """
    try:
        return parse_metadata(file.read_bytes(), str(file))
    except OSError as error:
        raise MediaError(f"'{file}' cannot be read: {error.strerror}.") from error


def parse_metadata(data: bytes, name: str) -> dict[str, Any]:
    """Return the generation metadata of a file's content.

    Args:
        data: The content.
        name: Name of the file.

    Raises:
        MediaError: It has no metadata.
    """
    from octabox.media.metadata.chunks import read_metadata as read_metadata_of
    from octabox.media.metadata.chunks import read_parameters

    metadata = read_metadata_of(data) or read_parameters(data)
    if not metadata:
        hint = "It may come from another program, or its metadata may have been removed."
        raise MediaError(f"'{name}' has no generation metadata.", hint=hint)
    return metadata


def require_model(metadata: Mapping[str, Any], model: str | None) -> str:
    """Return the model of a request: that of the command line, else that of the file's metadata.

    Raises:
        MissingParameterError: There is neither.
    """
    name = model or (metadata.get("model") if "pipeline" in metadata else None)
    if not name:
        hint = "Write it before the prompt: octabox run demo 'a red star'."
        origin = f" The file was made with '{metadata['model']}' by another program." if metadata.get("model") else ""
        raise MissingParameterError(f"The model is missing.{origin}", hint=hint, parameter="model")
    return str(name)


def check_single(config: ModelConfig, what: str) -> None:
    """Check that a model is not a cascade.

    Args:
        config: Configuration of the model.
        what: What is done with a single model: ``converted``.

    Raises:
        InvalidParameterError: It is a cascade, whose stages are separate models.
    """
    if config.stages:
        stages = ", ".join(dict.fromkeys(stage.model for stage in config.stages))
        raise InvalidParameterError(
            f"'{config.name}' is a cascade of {len(config.stages)} stages, which cannot be {what} as one model.",
            hint=f"Name one of its stages: {stages}.",
            parameter="model",
        )


def apply_profile(models: ServerModels, name: str, metadata: Mapping[str, Any], profile: str | None) -> None:
    """Set the performance profile of a model, or the performance settings of a file to reproduce.

    Args:
        models: The models, of which one is changed.
        name: Name of the model.
        metadata: Metadata of the file; empty if there is none.
        profile: The requested profile; it takes precedence over the file's.

    Raises:
        InvalidParameterError: There is no such profile.
    """
    from octabox.config.performance import PROFILES, PerformanceConfig

    if profile is not None and profile not in PROFILES:
        message = f"There is no performance profile '{profile}'."
        hint = f"Profiles are: {', '.join(PROFILES)}."
        raise InvalidParameterError(message, hint=hint, parameter="profile", choices=PROFILES)
    config = models.snapshot().config(name)
    performance = config.performance
    if "pipeline" in metadata:
        # Files whose results differ from diffusers' have the settings in their metadata; all others are exact.
        performance = PerformanceConfig.model_validate(metadata.get("performance") or {"profile": "exact"})
    if profile is not None:
        performance = PerformanceConfig.model_validate({**performance.overrides, "profile": profile})
    if performance != config.performance:
        models.add(config.model_copy(update={"performance": performance}))


def check_inputs(metadata: Mapping[str, Any], inputs: Collection[str]) -> None:
    """Check that the command line has all inputs that an output was made from; the metadata does not include them.

    Args:
        metadata: Metadata of the output.
        inputs: Names of the inputs of the command line.

    Raises:
        MissingParameterError: An input is missing.
    """
    from octabox.service.provenance import describe_digest

    for name, media in _inputs_of(metadata).items():
        if name not in inputs:
            message = f"The input '{name}' is missing, which the file was made from: {describe_digest(media)}."
            raise MissingParameterError(message, hint=f"Add it: -i {name}=FILE", parameter=name)


def find_changed_inputs(metadata: Mapping[str, Any], call: Call) -> list[str]:
    """Return a warning for each input of a call that differs from that of the metadata."""
    from octabox.service.provenance import describe_digest

    original = _inputs_of(metadata)
    # Through JSON, as the metadata was.
    return [
        f"'{name}' differs from the original input: that was {describe_digest(original[name])}, "
        f"this is {describe_digest(media)}."
        for name, media in json.loads(json.dumps(call.input_digests)).items()
        if name in original and media != original[name]
    ]


def _inputs_of(metadata: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the inputs of metadata; files of other programs and older files have none."""
    inputs = metadata.get("inputs")
    return inputs if isinstance(inputs, dict) else {}
