"""The options of `octabox run` with the contents of all files that they name: what another process needs to run them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from octabox.cli.requests import parameters, workflows
from octabox.cli.requests.options import read_prompts
from octabox.errors import InvalidParameterError, MediaError

#: Options that are paths of files, whose names may have any bytes, or whose content is checked.
_PATHS = frozenset({"inputs", "source", "prompt_file", *parameters.FILE_OPTIONS})

#: Half of a surrogate pair.
_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class RunOptions:
    """Options of a request.

    Args:
        model: A model by name, folder, file or Hub id; None is that of the file to reproduce.
        prompts: The prompts, each of which has a separate result.
        params: Names and texts of call parameters.
        inputs: Contents or URLs of input files, by name.
        source: Content of a generated file to reproduce.
        source_name: Path of that file.
        format: Format of the outputs; None selects the default.
        seed: Seed of the first result.
        num_outputs: Number of results of each prompt.
        task: The task.
        fps: Frames per second of a video.
        scheduler: A noise scheduler, by name or as JSON.
        prompt_syntax: Syntax of the prompts.
        styles: Names of styles.
        loras: LoRAs, each with its weight.
        profile: The performance profile.
        workflow: Settings by step of a workflow.
        dry_run: Whether the call is described instead of run.
    """

    model: str | None
    prompts: tuple[str, ...] = ()
    params: tuple[tuple[str, str], ...] = ()
    inputs: Mapping[str, tuple[bytes | str, ...]] = field(default_factory=dict)
    source: bytes | None = None
    source_name: str = ""
    format: str | None = None
    seed: int | None = None
    num_outputs: int = 1
    task: str | None = None
    fps: float | None = None
    scheduler: str | None = None
    prompt_syntax: str | None = None
    styles: tuple[str, ...] = ()
    loras: tuple[str, ...] = ()
    profile: str | None = None
    workflow: Mapping[str, Any] = field(default_factory=dict)
    dry_run: bool = False


def read_options(model: str | None, output_format: str | None, **options: Any) -> RunOptions:
    """Return the options of the command line, with the contents of the files that they name.

    Args:
        model: The model.
        output_format: Format of the outputs.
        options: All other options, by the names of the command line.

    Raises:
        RequestError: A file cannot be read, or an option is invalid.
    """
    check_texts({name: value for name, value in options.items() if name not in _PATHS})
    params, inputs = parameters.pop_parameters(options)
    prompts = read_prompts(model, options.pop("prompts"), options.pop("prompt_file"))
    check_texts({"prompts": tuple(prompts)})
    source = options.pop("source")
    return RunOptions(
        model=model,
        prompts=tuple(prompts),
        workflow=workflows.pop_workflow(options),
        params=tuple(params),
        source=None if source is None else read_source(source),
        source_name=str(source or ""),
        inputs=parameters.read_inputs(inputs),
        format=output_format,
        **options,
    )


def check_texts(options: Mapping[str, Any]) -> None:
    """Check that texts are UTF-8: Python keeps each other byte of a command line as half of a surrogate pair.

    Args:
        options: Texts, or tuples of texts, by the names of the options; other values are not checked.

    Raises:
        InvalidParameterError: A text has a byte that is not of UTF-8, which no tokenizer and no file could take.
    """
    for name, value in options.items():
        for text in value if isinstance(value, tuple) else (value,):
            if isinstance(text, str) and (byte := _SURROGATE.search(text)) is not None:
                shown = _SURROGATE.sub("\N{REPLACEMENT CHARACTER}", text[max(0, byte.start() - 20) : byte.end() + 20])
                option = {"prompts": "prompt", "params": "param", "styles": "style", "loras": "lora"}.get(name, name)
                message = f"'{option}' is not text in UTF-8: it has the byte {ord(byte[0]) & 0xFF:#x} in '{shown}'."
                hint = "Use a terminal with a UTF-8 locale; a file is converted by `iconv -f latin1 -t utf-8 FILE`."
                raise InvalidParameterError(message, hint=hint, parameter=option)


def read_source(file: Path) -> bytes:
    """Return the content of a file to reproduce.

    Raises:
        MediaError: It cannot be read.
    """
    try:
        return file.read_bytes()
    except OSError as error:
        raise MediaError(f"'{file}' cannot be read: {error.strerror}.") from error
