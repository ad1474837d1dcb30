"""Translate exceptions of torch, diffusers and the Hub to those of Octabox."""

from __future__ import annotations

import logging
import re

from huggingface_hub.errors import (
    GatedRepoError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from safetensors import SafetensorError

from octabox.catalog.pipelines import load_catalog
from octabox.config.model import ModelConfig
from octabox.engine.protocol import Call
from octabox.engine.worker.inputs.arguments import count_media, describe_media
from octabox.engine.worker.placement.device_errors import bytes_free, bytes_requested, causes, hardware_cause
from octabox.engine.worker.placement.process_memory import free_memory
from octabox.errors import (
    DeviceError,
    DownloadError,
    GatedModelError,
    GenerationCancelledError,
    GenerationError,
    IncompatibleWeightsError,
    InvalidParameterError,
    LoadError,
    MissingDependencyError,
    OctaboxError,
    OutOfMemoryError,
)

logger = logging.getLogger("octabox.worker")

#: Errors that a pipeline raises before its first step for invalid arguments.
ARGUMENT_ERRORS = (ValueError, TypeError, IndexError, KeyError)

#: Messages of torch about tensors that do not fit together.
SHAPES = re.compile(r"\b(sizes?|shapes?|dimensions?|channels|elements|TensorList)\b")

#: Load errors by the class of an exception or one of its causes; the first row that matches is used.
LOAD_ERRORS: tuple[tuple[tuple[type[BaseException], ...], type[LoadError], str, str], ...] = (
    (
        (GatedRepoError,),
        GatedModelError,
        "requires that its licence is accepted",
        "Accept it at https://huggingface.co/{source} and set HF_TOKEN.",
    ),
    (
        (RepositoryNotFoundError, RevisionNotFoundError),
        DownloadError,
        "was not found",
        "Check the name; a private repository needs HF_TOKEN.",
    ),
    (
        (OfflineModeIsEnabled, LocalEntryNotFoundError, ConnectionError),
        DownloadError,
        "could not be downloaded",
        "Check the network and HF_HUB_OFFLINE, or set `model` to a folder.",
    ),
    (
        (ImportError, NameError),
        MissingDependencyError,
        "needs a package",
        "Install the named package in the environment of Octabox.",
    ),
    (
        (SafetensorError, EOFError, UnicodeDecodeError),
        IncompatibleWeightsError,
        "has a weights file that cannot be read",
        "The file is damaged or incomplete; download it again.",
    ),
    (
        (OSError,),
        LoadError,
        "has a missing or inaccessible file",
        "Check that the folder has all components in `model_index.json`.",
    ),
    (
        (BaseException,),
        IncompatibleWeightsError,
        "could not be loaded",
        "Do the weights belong to this pipeline class?",
    ),
)

#: Maximum length of a library's message.
MAX_LENGTH = 1000


def _message(error: BaseException) -> str:
    """Return the message of a library's error in one line, shortened."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= MAX_LENGTH else f"{text[:MAX_LENGTH]} ..."


def to_hardware_error(
    error: BaseException, model: str, doing: str, device: str | None = None
) -> OutOfMemoryError | DeviceError | None:
    """Return the error for an exception that was caused by a lack of memory or a failed device; None for others.

    Args:
        error: The exception.
        model: The name of the model.
        doing: What was done with it, such as loading.
        device: The device of the model; None if unknown.
    """
    found = hardware_cause(error)
    if found is None or isinstance(error, OutOfMemoryError | DeviceError | GenerationCancelledError):
        return None
    kind, cause = found
    if kind == "device" and type(error) is LoadError:
        # Its message already describes the problem, and the devices that exist.
        return None
    message, location = _message(cause), f" on {device}" if device else ""
    if kind == "device":
        return DeviceError(
            f"The device failed while {doing} '{model}'{location}: {message}",
            hint="The next request gets a new worker process. If it fails too, check the device's driver and its log.",
            model=model,
        )
    requested, free = bytes_requested(message), bytes_free(message)
    if free is None and not isinstance(cause, MemoryError):
        free = free_memory(device)
    sizes = [
        f"{format_bytes(size)} {label}"
        for size, label in ((requested, "requested"), (free, "free"))
        if size is not None
    ]
    amounts = f" ({', '.join(sizes)})" if sizes else ""
    return OutOfMemoryError(
        f"Memory ran out while {doing} '{model}'{location}{amounts}: {message}",
        hint="Request a smaller image, unload another model, or set `memory: model_cpu_offload` or a smaller `dtype`.",
        model=model,
        requested=requested,
        free=free,
    )


def format_bytes(size: int) -> str:
    """Return a human-readable size."""
    for unit, factor in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if size >= factor:
            return f"{size / factor:.2f} {unit}"
    return f"{size} bytes"


def to_load_error(error: BaseException, model: ModelConfig) -> OctaboxError:
    """Return the error for an exception while a model was loaded."""
    logger.debug("loading '%s' failed", model.name, exc_info=error)
    if found := to_hardware_error(error, model.name, "loading", model.device):
        return found
    if isinstance(error, OctaboxError):
        return error
    cls, problem, hint = next(row[1:] for row in LOAD_ERRORS if any(isinstance(each, row[0]) for each in causes(error)))
    message = f"Model '{model.name}' ({model.model}) {problem}: {_message(error)}"
    return cls(message, hint=hint.format(source=model.model), model=model.name)


def to_generation_error(error: BaseException, call: Call, steps_taken: int, device: str | None = None) -> OctaboxError:
    """Return the error for an exception during a call; one for invalid arguments before the first step is the client's."""
    model, message = call.model.name, _message(error)
    logger.debug("a call of '%s' failed", model, exc_info=error)
    if found := to_hardware_error(error, model, "running", device):
        return found
    if isinstance(error, OctaboxError):
        return error
    if not steps_taken and (refused := _argument_error(error, call)):
        return refused
    if isinstance(error, (ImportError, NameError)):
        hint = "Install the named package in the environment of Octabox."
        return MissingDependencyError(f"{call.runs_as} needs a package: {message}", hint=hint, model=model)
    return GenerationError(
        f"{call.runs_as} failed: {type(error).__name__}: {message}",
        hint="With `--log-level debug` the log has the traceback.",
        model=model,
    )


def _argument_error(error: BaseException, call: Call) -> InvalidParameterError | None:
    """Return the error for invalid arguments, which a pipeline reports before its first step; None for any other."""
    model, message, inputs = call.model.name, _message(error), call.runs[0].inputs
    if not isinstance(error, (*ARGUMENT_ERRORS, RuntimeError) if inputs else ARGUMENT_ERRORS):
        return None
    if isinstance(error, TypeError) and (nulls := _nulls(call)):
        return InvalidParameterError(
            f"{call.runs_as} cannot use null for {' and '.join(map(repr, nulls))}.",
            hint="Leave it out for its default.",
            model=model,
            parameter=nulls[0],
        )
    if type(error) is RuntimeError and SHAPES.search(message):
        return _media_error(call)
    return InvalidParameterError(
        f"{call.runs_as} refused the request: {message}" + (f" (given: {describe_media(inputs)})" if inputs else ""),
        hint=f"`octabox show {model}` lists what {call.runs_as} accepts.",
        model=model,
        parameter=_find_parameter(str(error), call),
    )


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
        hint="Send images of the size that is made, all of one size. With `--log-level debug` the log has the traceback.",
        model=call.model.name,
        parameter=next(iter(inputs)) if len(inputs) == 1 else None,
    )


def _find_parameter(message: str, call: Call) -> str | None:
    """Return the parameter of an error: the first that its message names, else the only file; None if unknown."""
    run = call.runs[0]
    names = {*run.inputs, *(name for name, value in run.params.items() if value is not None)}
    named = next((word for word in re.findall(r"\w+", message) if word in names), None)
    return named or (next(iter(run.inputs)) if len(run.inputs) == 1 else None)
