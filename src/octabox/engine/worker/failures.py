"""Translate exceptions of torch, diffusers and the Hub to those of Octabox."""

from __future__ import annotations

import logging

from huggingface_hub.errors import (
    GatedRepoError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from safetensors import SafetensorError

from octabox.config.model import ACCELERATOR, ModelConfig
from octabox.engine.memory.units import format_bytes
from octabox.engine.protocol import Call
from octabox.engine.worker.inputs.argument_errors import (
    TRACEBACK,
    is_for_caller,
    library_message,
    to_argument_error,
    to_internal_error,
)
from octabox.engine.worker.placement.device_errors import bytes_free, bytes_requested, causes, hardware_cause
from octabox.engine.worker.placement.placement_errors import placement_cause
from octabox.engine.worker.placement.process_memory import free_memory
from octabox.errors import (
    DeviceError,
    DownloadError,
    GatedModelError,
    GenerationCancelledError,
    GenerationError,
    IncompatibleWeightsError,
    LoadError,
    MissingDependencyError,
    OctaboxError,
    OutOfMemoryError,
)

logger = logging.getLogger("octabox.worker")

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

#: What is wrong, and what helps, where tensors are on the wrong device or a device lacks an operator.
PLACEMENT_ERRORS = {
    "placement": (
        "some of its tensors were not on the device that it computes on",
        "The request and the files are not the cause. {mode}The log has the details; please report them.",
    ),
    "operator": (
        "the device does not have an operator that it needs",
        "The request and the files are not the cause. Set `device: cpu`, or another one. The log has the details.",
    ),
}


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
    message, location = library_message(cause), f" on {device}" if device else ""
    logger.warning("%s: %s", model, message)  # For the operator; a request names neither tensors nor kernels.
    if kind == "device":
        return DeviceError(
            f"The device failed while {doing} '{model}'{location}.",
            hint="The next request gets a new worker process. If it fails too, see the logs of the server and the driver.",
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
        f"Memory ran out while {doing} '{model}'{location}{amounts}.",
        hint="Request a smaller image, unload another model, or set `memory: model_cpu_offload` or a smaller `dtype`.",
        model=model,
        requested=requested,
        free=free,
    )


def to_load_error(error: BaseException, model: ModelConfig, component: str = "") -> OctaboxError:
    """Return the error for an exception while a model was loaded.

    Args:
        error: The exception.
        model: The configuration of the model.
        component: The component that was loaded, with its place.
    """
    logger.debug("loading '%s' failed", model.name, exc_info=error)
    device = None if model.device == ACCELERATOR else model.device
    if hardware := to_hardware_error(error, model.name, "loading", device):
        return hardware
    if isinstance(error, OctaboxError):
        return error
    if described := _describe_placement(error, model):
        logger.warning("%s: %s: %s", model.name, type(error).__name__, library_message(error))
        return LoadError(
            f"Model '{model.name}' could not be loaded: {described[0]}.", hint=described[1], model=model.name
        )
    cls, problem, hint = next(row[1:] for row in LOAD_ERRORS if any(isinstance(each, row[0]) for each in causes(error)))
    subject = f"'{model.name}': {component}" if component else f"'{model.name}' ({model.model})"
    message = f"Model {subject} {problem}: {library_message(error)}"
    return cls(message, hint=hint.format(source=model.model), model=model.name)


def to_generation_error(error: BaseException, call: Call, steps_taken: int, device: str | None = None) -> OctaboxError:
    """Return the error for an exception during a call; one for invalid arguments before the first step is the client's."""
    model, message = call.model.name, library_message(error)
    logger.debug("a call of '%s' failed", model, exc_info=error)
    if found := to_hardware_error(error, model, "running", device):
        return found
    if isinstance(error, OctaboxError):
        return error
    if not is_for_caller(error):
        logger.warning("%s: %s failed: %s: %s", model, call.runs_as, type(error).__name__, message)
    described = _describe_placement(error, call.model)
    if not (steps_taken or described) and (refused := to_argument_error(error, call)):
        return refused
    if isinstance(error, (ImportError, NameError)):
        hint = "Install the named package in the environment of Octabox."
        return MissingDependencyError(f"{call.runs_as} needs a package: {message}", hint=hint, model=model)
    if described or not is_for_caller(error):
        return to_internal_error(call, steps_taken, described)
    return GenerationError(
        f"{call.runs_as} failed: {type(error).__name__}: {message}",
        hint=TRACEBACK,
        model=model,
    )


def _describe_placement(error: BaseException, model: ModelConfig) -> tuple[str, str] | None:
    """Return what is wrong and what helps, where tensors are on the wrong device or it lacks an operator; else None."""
    # What torch or Python itself has raised quotes no request.
    found = placement_cause(error, quotes=is_for_caller(error))
    if found is None:
        return None
    problem, hint = PLACEMENT_ERRORS[found]
    return problem, hint.format(mode="" if model.memory == "full" else "Set `memory: full`. ")
