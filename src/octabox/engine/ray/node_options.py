"""Settings of workers as the nodes of a cluster use them: a node numbers its accelerators itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from octabox.config.memory.limits import HOST, limit_of
from octabox.config.model import ACCELERATOR
from octabox.engine.messages import WorkerOptions
from octabox.engine.ray.resources import device_type


def node_options(options: WorkerOptions) -> tuple[WorkerOptions, list[str]]:
    """Return the settings of workers without what has no effect on a cluster, and a warning for each such part.

    Args:
        options: The settings as configured.
    """
    warnings = [f"{text} has no effect with `engine: ray`: {reason}" for text, reason in _ignored(options)]
    limits = {place: size for place, size in options.max_memory.items() if place != HOST and ":" not in place}
    return replace(options, device=device_type(options.device), max_memory=limits), warnings


def accelerator_limit(limits: Mapping[str, int], device: str | None) -> int | None:
    """Return the bytes that models may use of each accelerator; None if there is no limit.

    Args:
        limits: The limits by place, as `node_options` returns them.
        device: Type of the device; None and ``accelerator`` are any, so that the smallest limit counts.
    """
    if device not in (None, ACCELERATOR):
        return limit_of(limits, device)
    return min((size for place, size in limits.items() if place != "cpu"), default=None)


def index_warnings(model: str, device: str | None) -> tuple[str, ...]:
    """Return a warning where the configuration of a model names one accelerator of many.

    Args:
        model: Name of the model.
        device: Its configured device.
    """
    if device == device_type(device):
        return ()
    text = (
        f"The index in `device: {device}` of model '{model}' has no effect on a cluster, which chooses the accelerator."
    )
    return (text,)


def _ignored(options: WorkerOptions) -> Iterable[tuple[str, str]]:
    """Yield the parts of settings that have no effect, and why."""
    reason = "the cluster chooses the accelerator of each replica."
    if options.device != device_type(options.device):
        yield f"The index in `device: {options.device}`", reason
    for place in options.max_memory:
        if place == HOST:
            yield f"`max_memory` of `{HOST}`", "replicas reserve the memory that Ray finds on a node."
        elif ":" in place:
            yield f"`max_memory` of `{place}`", f"{reason} Limit `{place.partition(':')[0]}` instead."
