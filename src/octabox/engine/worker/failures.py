"""What an exception of torch, diffusers or the Hub means in our own words."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from huggingface_hub.errors import (
    GatedRepoError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from safetensors import SafetensorError

from octabox.config.model import ModelConfig
from octabox.engine.protocol import Call
from octabox.engine.worker.inputs.arguments import shapes
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

#: What a pipeline raises when it is asked for what it cannot do, where it does so before its first step.
REFUSALS = (ValueError, TypeError, IndexError, KeyError)

#: What an exception means, while a model is loaded: the first row that it, or one that it was raised from, belongs to.
LOAD_ERRORS: tuple[tuple[tuple[type[BaseException], ...], type[LoadError], str, str], ...] = (
    (
        (GatedRepoError,),
        GatedModelError,
        "asks for an agreement first",
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
        "could not be fetched",
        "Is the network there, and HF_HUB_OFFLINE not set? Or give a folder as `model`.",
    ),
    (
        (ImportError, NameError),
        MissingDependencyError,
        "needs a package",
        "Install the package that is named, in the environment that Octabox runs in.",
    ),
    (
        (SafetensorError, EOFError, UnicodeDecodeError),
        IncompatibleWeightsError,
        "has a weights file that cannot be read",
        "The file is damaged or was cut short; fetch it again.",
    ),
    (
        (OSError,),
        LoadError,
        "has a file missing or out of reach",
        "Is the folder complete? `model_index.json` names the components that must be in it.",
    ),
    (
        (BaseException,),
        IncompatibleWeightsError,
        "could not be loaded",
        "Do the weights belong to this pipeline class?",
    ),
)

#: Longest part of a foreign message that is passed on.
MAX_LENGTH = 1000


def _words(error: BaseException) -> str:
    """Return a foreign error's message, in one line and not too long."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= MAX_LENGTH else f"{text[:MAX_LENGTH]} ..."


def hardware_error(
    error: BaseException, model: str, doing: str, device: str | None = None
) -> OutOfMemoryError | DeviceError | None:
    """Return the error that reports that memory ran out or that the device failed, however it was wrapped; None if neither.

    Args:
        error: What was raised.
        model: Name of the model.
        doing: What was done with it, such as loading.
        device: The device that it runs on; None while that is not known.
    """
    found = hardware_cause(error)
    if found is None or isinstance(error, OutOfMemoryError | DeviceError | GenerationCancelledError):
        return None
    kind, cause = found
    if (
        kind == "device" and type(error) is LoadError
    ):  # It says already what is wrong with the device, and which ones there are.
        return None
    words, place = _words(cause), f" on {device}" if device else ""
    if kind == "device":
        return DeviceError(
            f"The device failed while {doing} '{model}'{place}: {words}",
            hint="The next request gets a new worker process. If it fails likewise, look at the device's driver and its log.",
            model=model,
        )
    requested, free = bytes_requested(words), bytes_free(words)
    if free is None and not isinstance(cause, MemoryError):
        free = free_memory(device)
    told = [
        f"{size_text(size)} {what}" for size, what in ((requested, "requested"), (free, "free")) if size is not None
    ]
    amounts = f" ({', '.join(told)})" if told else ""
    return OutOfMemoryError(
        f"Memory ran out while {doing} '{model}'{place}{amounts}: {words}",
        hint="Ask for a smaller image, unload another model, or set `memory: model_cpu_offload` or a smaller `dtype`.",
        model=model,
        requested=requested,
        free=free,
    )


def size_text(size: int) -> str:
    """Return a number of bytes as it is written for people."""
    for unit, factor in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if size >= factor:
            return f"{size / factor:.2f} {unit}"
    return f"{size} bytes"


def as_load_error(error: BaseException, model: ModelConfig) -> OctaboxError:
    """Return the error that tells why a model could not be loaded."""
    logger.debug("loading '%s' failed", model.name, exc_info=error)
    if found := hardware_error(error, model.name, "loading", model.device):
        return found
    if isinstance(error, OctaboxError):
        return error
    kind, what, hint = next(row[1:] for row in LOAD_ERRORS if any(isinstance(each, row[0]) for each in causes(error)))
    message = f"Model '{model.name}' ({model.model}) {what}: {_words(error)}"
    return kind(message, hint=hint.format(source=model.model), model=model.name)


def as_generation_error(error: BaseException, call: Call, steps_taken: int, device: str | None = None) -> OctaboxError:
    """Return the error that tells why a call failed; what a pipeline refuses before its first step was asked wrongly."""
    model, what = call.model.name, _words(error)
    logger.debug("a call of '%s' failed", model, exc_info=error)
    if found := hardware_error(error, model, "running", device):
        return found
    if isinstance(error, OctaboxError):
        return error
    given = any(run.inputs for run in call.runs)
    if not steps_taken and isinstance(error, (*REFUSALS, RuntimeError) if given else REFUSALS):
        what += f" (given: {shapes(call.runs[0].inputs)})" if given else ""
        hint = f"`octabox show {model}` lists what {call.runs_as} accepts."
        concerned = _concerned(str(error), call)
        return InvalidParameterError(
            f"{call.runs_as} refused the request: {what}", hint=hint, model=model, parameter=concerned
        )
    if isinstance(error, (ImportError, NameError)):
        hint = "Install the package that is named, in the environment that Octabox runs in."
        return MissingDependencyError(f"{call.runs_as} needs a package: {what}", hint=hint, model=model)
    return GenerationError(
        f"{call.runs_as} failed: {type(error).__name__}: {what}",
        hint="With `--log-level debug` the log says where.",
        model=model,
    )


def _concerned(message: str, call: Call) -> str | None:
    """Return the parameter that a refusal is about: the first it names, else the only file; None where that is open."""
    run = call.runs[0]
    given = {*run.inputs, *(name for name, value in run.params.items() if value is not None)}
    named = next((word for word in re.findall(r"\w+", message) if word in given), None)
    return named or (next(iter(run.inputs)) if len(run.inputs) == 1 else None)


@contextmanager
def library_warnings(*packages: str) -> Iterator[list[str]]:
    """Gather what diffusers, transformers and these packages log as warnings while this lasts, such as a truncated prompt."""
    said: list[str] = []

    class Gather(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.append(record.getMessage())

    with ExitStack() as stack:
        for name in {"diffusers", "transformers", *packages}:
            stack.enter_context(_listening(logging.getLogger(name), Gather(logging.WARNING)))
        yield said


@contextmanager
def _listening(library: logging.Logger, handler: logging.Handler) -> Iterator[None]:
    """Hand a logger's warnings to a handler while this lasts, those too that it keeps from its own handlers."""
    level, own = library.level, [(each, each.level) for each in library.handlers]
    least = library.getEffectiveLevel()
    if least > logging.WARNING:
        library.setLevel(logging.WARNING)
        for each, its in own:
            each.setLevel(max(its, least))
    library.addHandler(handler)
    try:
        yield
    finally:
        library.removeHandler(handler)
        library.setLevel(level)
        for each, its in own:
            each.setLevel(its)
