"""The messages between the server and its worker processes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from octabox.config.model import ModelConfig
from octabox.config.performance import Profile
from octabox.engine.protocol import Call
from octabox.errors import OctaboxError
from octabox.types import Generation, PerformanceReport, Progress


@dataclass(frozen=True)
class WorkerOptions:
    """Settings of a worker that are not those of its model.

    Args:
        threads: CPU threads for torch; 0 uses as many as `octabox.engine.threads` counts.
        device: Device for models that name none; None selects the best one.
        dtype: dtype for models whose dtype is ``auto``.
        log_level: Log level of the worker.
        log_file: File for the log; None logs to the terminal.
        embeddings: Folder with textual inversion embeddings, if any.
        max_adapters: How many LoRAs one model keeps in memory.
        profile: Performance profile of models that name none.
        cache_dir: Folder for what can be rebuilt, such as compiled code; None leaves that to torch and its variable.
        silence_timeout: Seconds without a sign of life after which it is ended; 0 is no limit.
        progress_timeout: Seconds without progress of a call after which it is ended; 0 is no limit.
        max_memory: Bytes that models may use, by place.
    """

    threads: int = 0
    device: str | None = None
    dtype: str = "auto"
    log_level: str = "info"
    log_file: str | None = None
    embeddings: str | None = None
    max_adapters: int = 8
    profile: Profile = "exact"
    cache_dir: str | None = None
    silence_timeout: float = 60.0
    progress_timeout: float = 3600.0
    max_memory: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Start:
    """To a new worker: load this model.

    Args:
        model: Its configuration.
        pipeline: Class to load it as.
        options: Settings of the worker.
        occupied: Bytes that other models hold on its device.
        makes_room: Whether the server takes another model off the device, and loads this one again, where memory runs out.
        ceilings: Most members of a batch by class and size, where larger ones have failed or ended an earlier worker.
    """

    model: ModelConfig
    pipeline: str
    options: WorkerOptions
    occupied: int = 0
    makes_room: bool = False
    ceilings: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class RunCall:
    """To an idle worker: run this call."""

    call: Call


@dataclass(frozen=True)
class RunBatch:
    """To an idle worker: run these calls, together where that gives the same outputs faster."""

    calls: tuple[Call, ...]


@dataclass(frozen=True)
class Sleep:
    """To an idle worker: move the weights to the host; the answer states the number, which is that of this request."""

    number: int = 0


@dataclass(frozen=True)
class WakeUp:
    """To a worker that sleeps: move the weights back to the device.

    Args:
        occupied: Bytes that other models hold there.
        number: As that of `Sleep`.
    """

    occupied: int = 0
    number: int = 0


@dataclass(frozen=True)
class CancelCall:
    """To a worker: stop this call at its next step."""

    id: str


@dataclass(frozen=True)
class Ping:
    """To a worker, at regular intervals: answer with `Alive`."""


@dataclass(frozen=True)
class Alive:
    """From a worker, even while it loads or runs a call: the answer to `Ping`."""


@dataclass(frozen=True)
class LoadProgress:
    """From a worker, during a load: the weights are in memory, and the model is prepared for its first call.

    Args:
        progress: What it does, such as the phase ``compiling``.
    """

    progress: Progress


@dataclass(frozen=True)
class Loaded:
    """From a worker: the model is loaded.

    Args:
        device: The device that it is on, with its index, such as ``cuda:0``, or ``cpu``.
        seconds: How long the load took.
        warnings: Settings that have no effect.
        performance: What became of the performance settings.
        devices: All devices of a model that is split over several, the first one included.
    """

    device: str
    seconds: float
    warnings: tuple[str, ...] = ()
    performance: PerformanceReport = field(default_factory=PerformanceReport)
    devices: tuple[str, ...] = ()


@dataclass(frozen=True)
class BadFork:
    """From a forked process, before it does anything: it cannot use accelerators that were initialised before the fork.

    Args:
        device_types: Types of those accelerators, such as ``cuda``.
    """

    device_types: tuple[str, ...]


@dataclass(frozen=True)
class DeviceMemory:
    """An accelerator and its free memory.

    Args:
        name: Its name with its index, such as ``cuda:0``.
        free: Free bytes; None where they were not queried or are not known.
        reports: Whether torch can report them at all.
    """

    name: str
    free: int | None = None
    reports: bool = True


@dataclass(frozen=True)
class Survey:
    """From a process that looks for accelerators.

    Args:
        devices: The available ones, in the order of their indices; empty on a machine without accelerators.
        problem: Why the search failed; empty where it did not.
    """

    devices: tuple[DeviceMemory, ...] = ()
    problem: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the free bytes of each device by its name, null where they are not known, and why there are none if so."""
        return {"accelerators": {each.name: each.free for each in self.devices}, "problem": self.problem or None}


@dataclass(frozen=True)
class LoadFailed:
    """From a worker, before it ends: the model could not be loaded."""

    error: OctaboxError


@dataclass(frozen=True)
class RunStarted:
    """From a worker: the call, or a part of its runs, has started.

    Args:
        id: Id of the call.
        members: How many runs share that call of the pipeline, those of other calls included.
    """

    id: str
    members: int = 1


@dataclass(frozen=True)
class WeightsMoved:
    """From a worker: the answer to `Sleep` and `WakeUp`.

    Args:
        error: Why the weights are not where they should be; None if they are.
        number: Number of the request.
    """

    error: OctaboxError | None = None
    number: int = 0


@dataclass(frozen=True)
class StepDone:
    """From a worker: the progress of a call."""

    id: str
    progress: Progress


@dataclass(frozen=True)
class RunFinished:
    """From a worker: the model is free for the next call, while the outputs of this one are being encoded."""

    id: str


@dataclass(frozen=True)
class Finished:
    """From a worker: the result of a call."""

    id: str
    generation: Generation


@dataclass(frozen=True)
class Failed:
    """From a worker: the call has failed; the worker is ready for the next one."""

    id: str
    error: OctaboxError


@dataclass(frozen=True)
class BatchReport:
    """From a worker, after calls from which it has learned: how many runs may run together.

    Args:
        limits: By class and size; those that are missing run singly.
        reasons: Why a class runs singly, by class.
        ceilings: The most by class and size, where larger batches have failed.
    """

    limits: Mapping[str, int] = field(default_factory=dict)
    reasons: Mapping[str, str] = field(default_factory=dict)
    ceilings: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Memory:
    """From a worker, after a load and after each call: the memory of its process.

    Args:
        bytes: Resident bytes of the ``host``, and reserved bytes by accelerator, such as ``cuda:0``.
        allocated: Bytes of tensors, by accelerator; the other reserved bytes are kept for reuse.
        peak: Largest number of bytes of tensors in the last call, by accelerator.
        mode: The memory mode.
        reason: Why it was selected; empty if it was configured.
        out_of_memory: How often memory has run out in calls.
    """

    bytes: Mapping[str, int] = field(default_factory=dict)
    allocated: Mapping[str, int] = field(default_factory=dict)
    peak: Mapping[str, int] = field(default_factory=dict)
    mode: str | None = None
    reason: str = ""
    out_of_memory: int = 0


ToWorker = RunCall | RunBatch | Sleep | WakeUp | CancelCall | Ping
Answer = BadFork | Loaded | LoadFailed | WeightsMoved
FromWorker = (
    Answer | LoadProgress | RunStarted | StepDone | RunFinished | Finished | Failed | BatchReport | Memory | Alive
)
