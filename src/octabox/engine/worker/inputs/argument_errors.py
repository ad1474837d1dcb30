"""Errors for what a pipeline cannot do with its arguments, in words about the request."""

from __future__ import annotations

import linecache
import re
import traceback
from collections.abc import Sequence
from pathlib import Path

import torch

from octabox.catalog.pipelines import load_catalog
from octabox.engine.protocol import Call
from octabox.engine.worker.inputs.arguments import count_media, describe_media
from octabox.errors import GenerationError, InvalidParameterError

#: Errors that a pipeline raises before its first step for invalid arguments.
ARGUMENT_ERRORS = (ValueError, TypeError, IndexError, KeyError)

#: Messages of torch about tensors that do not fit together.
SHAPES = re.compile(r"\b(sizes?|shapes?|dimensions?|channels|elements|TensorList)\b")

#: Statements by which a pipeline states in its own words what it does not accept.
STATEMENTS = re.compile(r"\b(raise|assert)\b")

#: Folder of torch, whose messages are about tensors.
TORCH = Path(torch.__file__).parent

#: Where the traceback of a failed call is, for hints.
TRACEBACK = "`octabox run -v` shows the traceback, and the log of `octabox serve --log-level debug` has it."

#: Maximum length of a library's message.
MAX_LENGTH = 1000


def library_message(error: BaseException) -> str:
    """Return the message of a library's error in one line, shortened."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= MAX_LENGTH else f"{text[:MAX_LENGTH]} ..."


def is_for_caller(error: BaseException) -> bool:
    """Return whether the message of an exception may be about the request; True if its origin is unknown.

    It is not where torch or Python itself has raised it, since those describe tensors and objects that no request names.
    """
    frames = list(traceback.walk_tb(error.__traceback__))
    if not frames:
        return True
    frame, line = frames[-1]
    file = frame.f_code.co_filename
    return not Path(file).is_relative_to(TORCH) and bool(STATEMENTS.search(linecache.getline(file, line)))


def to_argument_error(error: BaseException, call: Call) -> InvalidParameterError | None:
    """Return the error for invalid arguments, which a pipeline reports before its first step; None for any other."""
    model, message, inputs = call.model.name, library_message(error), call.runs[0].inputs
    if not isinstance(error, (*ARGUMENT_ERRORS, RuntimeError) if inputs else ARGUMENT_ERRORS):
        return None
    if isinstance(error, TypeError) and (nulls := _nulls(call)):
        return InvalidParameterError(
            f"{call.runs_as} cannot use null for {' and '.join(map(repr, nulls))}.",
            hint="Leave it out for its default.",
            model=model,
            parameter=nulls[0],
        )
    for_caller = is_for_caller(error)
    if inputs and SHAPES.search(message) and (type(error) is RuntimeError or not for_caller):
        return _media_error(call)
    if not for_caller:
        return _parameters_error(call)
    return InvalidParameterError(
        f"{call.runs_as} refused the request: {message}" + (f" (given: {describe_media(inputs)})" if inputs else ""),
        hint=f"`octabox show {model}` lists what {call.runs_as} accepts.",
        model=model,
        parameter=_find_parameter(str(error), call),
    )


def _parameters_error(call: Call) -> InvalidParameterError:
    """Return the error for parameters that a pipeline fails with before its first step."""
    inputs = call.runs[0].inputs
    names = [*inputs, *_changed(call)]
    several = f"these parameters together: {_quoted(names)}" if names else "these parameters"
    media = f" (given: {describe_media(inputs)})" if inputs else ""
    # Files fit a model less often than numbers do.
    likely = [*inputs] or names
    return InvalidParameterError(
        f"{call.runs_as} cannot use {f'this value of {names[0]!r}' if len(names) == 1 else several}{media}.",
        hint=f"Leave out what is not needed; `octabox show {call.model.name}` lists the defaults. The log has the details.",
        model=call.model.name,
        parameter=likely[0] if len(likely) == 1 else None,
    )


def to_internal_error(call: Call, steps_taken: int, described: tuple[str, str] | None = None) -> GenerationError:
    """Return the error for a failure whose own message is only for the log.

    Args:
        call: The call.
        steps_taken: How many steps it has taken.
        described: What is wrong, and what helps, where that is known and not the request.
    """
    names = _changed(call)
    when = "while it ran" if steps_taken else "before its first step"
    values = f"Try it without {_quoted(names)}, or with" if names else "Try"
    unknown = "", f"{values} another noise scheduler. The log has the details. {TRACEBACK}"
    problem, hint = described or unknown
    return GenerationError(
        f"Model '{call.model.name}' ({call.runs_as}) failed {when}{problem and f': {problem}'}.",
        hint=hint,
        model=call.model.name,
    )


def _changed(call: Call) -> list[str]:
    """Return the parameters that have another value than by default, without texts."""
    entry = load_catalog().pipelines.get(call.runs_as)
    defaults = {each.name: each.default for each in entry.parameters if not each.required} if entry else {}
    params = {name: value for name, value in call.runs[0].params.items() if name in defaults}
    # Texts are what the model is for, and hardly ever the reason.
    return sorted(name for name, value in params.items() if not isinstance(value, str) and value != defaults[name])


def _quoted(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names))


def _nulls(call: Call) -> list[str]:
    """Return the parameters of a call that are None in place of another default."""
    entry = load_catalog().pipelines.get(call.runs_as)
    params = call.runs[0].params
    known = [each for each in entry.parameters if not each.required and each.default is not None] if entry else []
    return [each.name for each in known if each.name in params and params[each.name] is None]


def _media_error(call: Call) -> InvalidParameterError:
    """Return the error for media that the layers of a model do not accept, whose own message is about tensors."""
    inputs = call.runs[0].inputs
    several = next((name for name, media in inputs.items() if count_media(media) > 1), None)
    if several is not None:
        return InvalidParameterError(
            f"{call.runs_as} cannot use {count_media(inputs[several])} files for '{several}' with one prompt "
            f"(given: {describe_media(inputs)}).",
            hint="Send one in each request.",
            model=call.model.name,
            parameter=several,
        )
    return InvalidParameterError(
        f"{call.runs_as} cannot use these inputs (given: {describe_media(inputs)}).",
        hint=f"Send images of the size that is made, all of one size. {TRACEBACK}",
        model=call.model.name,
        parameter=next(iter(inputs)) if len(inputs) == 1 else None,
    )


def _find_parameter(message: str, call: Call) -> str | None:
    """Return the parameter of an error: the first that its message names, else the only file; None if unknown."""
    run = call.runs[0]
    names = {*run.inputs, *(name for name, value in run.params.items() if value is not None)}
    named = next((word for word in re.findall(r"\w+", message) if word in names), None)
    return named or (next(iter(run.inputs)) if len(run.inputs) == 1 else None)
