"""The part of a model's status that concerns its memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class ReplicaState:
    """One of several replicas of a model.

    Args:
        device: Its device.
        state: ``loading``, ``ready`` (idle) or ``busy``.
        pid: Id of its process.
        memory: Memory of its process in bytes, as for the model.
    """

    device: str | None
    state: str
    pid: int | None = None
    memory: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class MemoryState:
    """How a model is in memory, and for how long.

    Args:
        names: Names of the models that its process serves.
        allocated: Bytes of the reserved memory that tensors use, by accelerator; the rest is cached.
        peak: Largest number of bytes of tensors in the last call, by accelerator.
        memory_mode: Which weights are offloaded; None while loading.
        memory_reason: Why that mode was selected; empty if it was configured.
        last_used: When its last request ended, in seconds since the epoch.
        time_left: Seconds until it is unloaded if no request arrives; None if that will not happen.
        pinned: Whether it is never unloaded for another model.
        load_seconds: How long its load took.
        replicas: Its replicas, where there are several; its memory is that of all of them.
    """

    names: tuple[str, ...] = ()
    allocated: Mapping[str, int] = field(default_factory=dict)
    peak: Mapping[str, int] = field(default_factory=dict)
    memory_mode: str | None = None
    memory_reason: str = ""
    last_used: float | None = None
    time_left: float | None = None
    pinned: bool = False
    load_seconds: float | None = None
    replicas: tuple[ReplicaState, ...] = ()
