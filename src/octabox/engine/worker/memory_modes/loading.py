"""Select the memory mode of a model before it is loaded."""

from __future__ import annotations

import logging

from octabox.config.model import ModelConfig
from octabox.engine.memory.identity import loading_key
from octabox.engine.memory.learned import read_learned
from octabox.engine.messages import WorkerOptions
from octabox.engine.worker.memory_modes.decision import MODES, decide
from octabox.engine.worker.memory_modes.measuring import available_memory, file_sizes
from octabox.engine.worker.placement.device_errors import hardware_cause

logger = logging.getLogger("octabox.worker")

#: Bytes that a call needs in addition to the weights, as a part of these, before any was measured.
WORKING_SHARE = 16


def resolve_memory(
    config: ModelConfig, pipeline: str, device: str, options: WorkerOptions, occupied: int = 0
) -> tuple[ModelConfig, str]:
    """Return a configuration with a memory mode in place of ``auto``, and why it was selected.

    Args:
        config: The model's configuration.
        pipeline: Class that it is loaded as.
        device: Device that it computes on.
        options: Settings with the limits of memory.
        occupied: Bytes that other models hold on the device.
    """
    if config.memory != "auto":
        return config, ""
    if device == "cpu":
        return config.model_copy(update={"memory": "full"}), ""
    sizes, available = file_sizes(config, device, options), available_memory(device, options, occupied)
    if available is None:
        return config.model_copy(update={"memory": "full"}), f"The free memory of {device} is not known."
    if sizes is None:
        return config.model_copy(update={"memory": "full"}), "The size of its weights is not known before the load."
    learned = read_learned(loading_key(config, pipeline, device.partition(":")[0], options.dtype))
    smallest = learned.working_bytes(min(learned.working)) if learned.working else None
    working = sum(sizes.components.values()) // WORKING_SHARE if smallest is None else smallest
    decision = decide(sizes, working, available, device)
    reason = " ".join(filter(None, [decision.reason, decision.advice]))
    if decision.mode != "full":
        logger.info("%s: `memory: %s` is used. %s", config.name, decision.mode, reason)
    return config.model_copy(update={"memory": decision.mode}), reason


def mode_after_failure(
    config: ModelConfig, mode: str, device: str, options: WorkerOptions, error: Exception
) -> str | None:
    """Return the memory mode to load a model in after a load that has failed; None if there is none.

    Args:
        config: The model's configuration, in which the mode may be ``auto``.
        mode: The mode in which it has failed.
        device: Device that it computes on.
        options: Settings with the dtype of models that configure none.
        error: Why it has failed; another mode helps only where memory ran out on the device, not on the host.
    """
    found = hardware_cause(error)
    if config.memory != "auto" or device == "cpu" or found is None or found[0] != "memory":
        return None
    if isinstance(found[1], MemoryError):
        return None
    later, sizes = MODES[MODES.index(mode) + 1 :], file_sizes(config, device, options)
    if sizes is None:
        return next(iter(later), None)
    working = sum(sizes.components.values()) // WORKING_SHARE
    return next((each for each in later if sizes.needed(each, working) < sizes.needed(mode, working)), None)
