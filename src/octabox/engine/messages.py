"""What the server and a worker process say to each other over their pipe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from octabox.config.model import ModelConfig
from octabox.config.performance import Profile
from octabox.engine.protocol import Call
from octabox.errors import OctaboxError
from octabox.types import Generation, PerformanceReport, Progress

#: Variable by which torch is told where compiled code is kept.
COMPILED_CODE_VARIABLE = "TORCHINDUCTOR_CACHE_DIR"

#: Exit code of a worker that has reported a failure of its device and ends by itself, so that the next call gets a new one.
DEVICE_BROKEN = 75


@dataclass(frozen=True)
class WorkerOptions:
    """What a worker must know besides its model.

    Args:
        threads: Processor threads for torch; 0 is as many as `octabox.engine.threads` counts.
        device: Device for models that name none; None takes the best there is.
        dtype: Type of numbers for models whose own is ``auto``.
        log_level: Level of the worker's log.
        log_file: File that the log goes to; None is the terminal.
        embeddings: Folder of embeddings; None is none.
        max_adapters: LoRAs that one model keeps in memory.
        profile: Performance profile of models that name none.
        cache_dir: Folder for what can be made again, such as compiled code; None leaves that to torch and its variable.
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


@dataclass(frozen=True)
class Start:
    """To a new worker: load this model."""

    model: ModelConfig
    pipeline: str
    options: WorkerOptions


@dataclass(frozen=True)
class RunCall:
    """To a worker that is idle: make this call."""

    call: Call


@dataclass(frozen=True)
class CancelCall:
    """To a worker: stop this call at its next step."""

    id: str


@dataclass(frozen=True)
class Ping:
    """To a worker: show that you are alive."""


@dataclass(frozen=True)
class Alive:
    """From a worker, whatever it does: the answer to `Ping`."""


@dataclass(frozen=True)
class Loaded:
    """From a worker: the model is ready.

    Args:
        device: Where it runs, with its index, such as ``cuda:0``, or ``cpu``.
        seconds: How long the load took.
        warnings: What could not be honoured.
    """

    device: str
    seconds: float
    warnings: tuple[str, ...] = ()
    performance: PerformanceReport = field(default_factory=PerformanceReport)


@dataclass(frozen=True)
class BadFork:
    """From a forked process, before it does anything: it cannot use accelerators, which were initialised before the fork.

    Args:
        device_types: Types of those accelerators, such as ``cuda``.
    """

    device_types: tuple[str, ...]


@dataclass(frozen=True)
class DeviceMemory:
    """An accelerator.

    Args:
        name: Its name with its index, such as ``cuda:0``.
        free: Bytes that are free on it; None where that was not asked for or is not known.
    """

    name: str
    free: int | None = None


@dataclass(frozen=True)
class Survey:
    """From a process that looks for accelerators.

    Args:
        devices: Those that are available, in the order of their indices; none is a machine with processors alone.
        problem: Why they could not be found out; empty where they could.
    """

    devices: tuple[DeviceMemory, ...] = ()
    problem: str = ""


@dataclass(frozen=True)
class LoadFailed:
    """From a worker, before it ends: the model could not be loaded."""

    error: OctaboxError


@dataclass(frozen=True)
class RunStarted:
    """From a worker: it has taken the call up."""

    id: str


@dataclass(frozen=True)
class StepDone:
    """From a worker: how far a call is."""

    id: str
    progress: Progress


@dataclass(frozen=True)
class RunFinished:
    """From a worker: the model is free for the next call, while this one's artifacts are being encoded."""

    id: str


@dataclass(frozen=True)
class Finished:
    """From a worker: the call's result."""

    id: str
    generation: Generation


@dataclass(frozen=True)
class Failed:
    """From a worker: the call did not end well; the worker is ready for the next one."""

    id: str
    error: OctaboxError


@dataclass(frozen=True)
class Memory:
    """From a worker, now and then: the memory it holds.

    Args:
        bytes: Bytes by place: resident on the ``host``, and reserved on its accelerator, such as ``cuda:0``.
        allocated: Bytes in use by tensors, by accelerator; the rest of what is reserved is kept for reuse.
    """

    bytes: Mapping[str, int] = field(default_factory=dict)
    allocated: Mapping[str, int] = field(default_factory=dict)


ToWorker = RunCall | CancelCall | Ping
FromWorker = BadFork | Loaded | LoadFailed | RunStarted | StepDone | RunFinished | Finished | Failed | Memory | Alive


@dataclass(frozen=True)
class Conversion:
    """To a process that writes a model out: what is to be written.

    Args:
        model: The model's configuration.
        pipeline: Class of diffusers to load it as.
        out: Folder to write to.
        options: Of the process that does it.
        variant: Part of the weight files' names, such as fp16.
        max_shard_size: Largest weight file, such as 5GB; None leaves that to diffusers.
    """

    model: ModelConfig
    pipeline: str
    out: Path
    options: WorkerOptions
    variant: str | None = None
    max_shard_size: str | None = None


@dataclass(frozen=True)
class Converted:
    """From that process: the folder is written."""

    warnings: tuple[str, ...] = ()
