"""One worker of a model, from the start of its process to its end."""

from __future__ import annotations

import asyncio
import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from multiprocessing.context import BaseContext
from typing import Literal, Protocol

from octabox.catalog.pipelines import load_catalog
from octabox.config.model import ModelConfig
from octabox.engine.batches.keys import batch_limit
from octabox.engine.local.processes.load_outcome import LoadOutcome
from octabox.engine.local.processes.weight_moves import WeightMoves
from octabox.engine.local.processes.worker_process import Listener
from octabox.engine.local.queue.sent_calls import SentCalls
from octabox.engine.memory.host import private_bytes
from octabox.engine.messages import (
    Answer,
    BadFork,
    BatchReport,
    Failed,
    Finished,
    FromWorker,
    Loaded,
    LoadFailed,
    LoadProgress,
    Memory,
    RunFinished,
    RunStarted,
    Start,
    StepDone,
    ToWorker,
    WeightsMoved,
)
from octabox.engine.protocol import Call
from octabox.errors import DeviceError, OctaboxError
from octabox.types import ModelStatus, PerformanceReport, Progress

logger = logging.getLogger("octabox.engine")


class Worker(Protocol):
    """A process that holds one model; see `WorkerProcess`."""

    @property
    def pid(self) -> int | None:
        """The process id."""

    @property
    def node(self) -> str:
        """Address of its machine; empty for this one."""

    @property
    def alive(self) -> bool:
        """Whether the process is not known to have ended."""

    async def send(self, message: ToWorker) -> None:
        """Send a message."""

    async def stop(self) -> None:
        """End the process, and wait for its end, but not indefinitely."""


#: Starts a worker that loads a model, in a process that the context makes; its messages go to the listener.
StartWorker = Callable[[Start, Listener, BaseContext], Awaitable[Worker]]


class ModelWorker:
    """A worker of a model, from the start of its process to its end.

    Args:
        start: What it loads.
        requested: The configuration and the class that it is loaded for; ``start`` names the device, too.
        sent: The calls that the model's worker has been sent.
        on_exit: Called where the process ends unexpectedly.
        on_out_of_memory: Called for each call in which memory has run out.
        on_progress: Receives the progress of a load after the weights are in memory.
    """

    def __init__(
        self,
        start: Start,
        requested: tuple[ModelConfig, str],
        sent: SentCalls,
        on_exit: Callable[[OctaboxError], None],
        on_out_of_memory: Callable[[], None] = lambda: None,
        on_progress: Callable[[Progress], None] = lambda _: None,
    ) -> None:
        self.requested, self.device = requested, start.model.device
        self.process: Worker | None = None
        self.loaded: Loaded | None = None
        self.memory, self.batches, self.since = Memory(), BatchReport(ceilings=start.ceilings), time.time()
        self._start, self._sent, self._on_exit = start, sent, on_exit
        self._on_out_of_memory, self._on_progress = on_out_of_memory, on_progress
        self._load = LoadOutcome()
        self._exit_expected = False
        self.weights = WeightMoves(start.model.name)

    async def load(self, start_worker: StartWorker, context: BaseContext, timeout: float) -> Loaded | BadFork:
        """Start the process, and wait until it has loaded the model.

        Raises:
            TimeoutError: The start or the load took too long.
            OctaboxError: The model cannot be loaded.
        """
        self.process = await asyncio.wait_for(start_worker(self._start, self._on_message, context), timeout)
        outcome = await self._load.wait(timeout, self._start.options.progress_timeout)
        if isinstance(outcome, Loaded):
            self.loaded, self.device, self.since = outcome, outcome.device, time.time()
        return outcome

    async def stop(self) -> None:
        """End the process, and wait for its end."""
        self._exit_expected = True
        if self.process:
            await self.process.stop()

    async def sleep(self, timeout: float) -> bool:
        """Move the weights to the host while it is idle, within so many seconds; return whether they are there."""
        return await self.weights.sleep(self.process, timeout)

    def batch_limit(self, call: Call) -> int:
        """Return how many runs may share a batch with those of a call, by what the process has learned."""
        if not self.batches.limits and call.model.batching != "always":
            return 1
        entry = load_catalog().pipeline(call.runs_as)
        return batch_limit(call, entry, self.batches.limits, self.batches.ceilings)

    def status(self, *, waiting: int, busy: bool) -> ModelStatus | None:
        """Return the status of the model, with what its queue adds; None until the process is started."""
        if self.process is None:
            return None
        node = f" on {self.process.node}" if self.process.node else ""
        return ModelStatus(
            model=self._start.model.name,
            state=self._state(busy=busy),
            pipeline=self.requested[1] if self.loaded else None,
            device=self.device and f"{', '.join(self._devices)}{node}",
            memory=dict(self.memory.bytes),
            allocated=dict(self.memory.allocated),
            peak=dict(self.memory.peak),
            memory_mode=self.memory.mode,
            memory_reason=self.memory.reason,
            load_seconds=self.loaded.seconds if self.loaded else None,
            waiting=waiting,
            pid=self.process.pid,
            since=self.since,
            performance=with_batches(self.loaded.performance, self.batches) if self.loaded else None,
        )

    @property
    def ready_seconds(self) -> float:
        """What its load took, or its weights to the host and back if they have been there since."""
        if self.weights.seconds is not None:
            return self.weights.seconds
        return self.loaded.seconds if self.loaded else 0.0

    @property
    def _devices(self) -> list[str]:
        """The names of its devices, once each."""
        return list(dict.fromkeys((self.loaded.devices if self.loaded else ()) or (str(self.device),)))

    def _state(self, *, busy: bool) -> Literal["loading", "ready", "busy", "sleeping"]:
        if self.weights.asleep:
            return "sleeping"
        return "loading" if not self.loaded or self.weights.moving else "busy" if busy else "ready"

    def _on_message(self, message: FromWorker | OctaboxError) -> None:
        """Handle a message of the worker, or the error that states how it ended."""
        if isinstance(message, OctaboxError):
            self._on_worker_exit(message)
        elif isinstance(message, StepDone):
            self._sent.publish(message.id, message.progress)
        elif isinstance(message, RunStarted):
            self._sent.start(message.id, message.members)
        elif isinstance(message, RunFinished):
            self._sent.finish_run(message.id)
        elif isinstance(message, Finished):
            self._sent.finish(message.id, message.generation)
        elif isinstance(message, Failed):
            self._sent.finish(message.id, message.error)
        elif isinstance(message, Memory | BatchReport):
            self._update(message)
        elif isinstance(message, LoadProgress):
            self._load.note_weights()
            self._on_progress(message.progress)
        elif isinstance(message, Loaded | BadFork | LoadFailed | WeightsMoved):
            self._on_answer(message)

    def _on_answer(self, message: Answer) -> None:
        """Handle the answer to the request to load the model, or to move its weights."""
        if isinstance(message, WeightsMoved):
            self.weights.answer(message)
            return
        self._exit_expected = self._exit_expected or not isinstance(message, Loaded)
        self._load.resolve(message.error if isinstance(message, LoadFailed) else message)

    def _update(self, report: Memory | BatchReport) -> None:
        """Take over what the worker has measured, and report each time that its memory has run out."""
        if isinstance(report, BatchReport):
            self.batches = report
            self._sent.ceilings.merge(report.ceilings)
            return
        for _ in range(report.out_of_memory - self.memory.out_of_memory):
            self._on_out_of_memory()
        self.memory = report

    def _on_worker_exit(self, error: OctaboxError) -> None:
        """Fail what the worker was doing, unless it was to end."""
        self.weights.resolve(error)
        if self._exit_expected:
            return
        if not isinstance(error, DeviceError):  # It has been logged with the call that it ended.
            logger.warning("%s", error)
        self._load.resolve(error)
        self._on_exit(error)


class WorkerHolder(ABC):
    """What is known of a model by the worker that holds it."""

    @property
    @abstractmethod
    def worker(self) -> ModelWorker | None:
        """The worker; None while there is none."""

    @property
    def resident(self) -> bool:
        """Whether the model is in memory, or being loaded."""
        return self.worker is not None

    @property
    def device(self) -> str | None:
        """The device that the model is on, or is being loaded on."""
        return self.worker.device if self.worker else None

    @property
    def asleep(self) -> bool:
        """Whether the weights are on the host until they are needed."""
        return self.worker is not None and self.worker.weights.asleep

    @property
    def memory(self) -> Mapping[str, int]:
        """The bytes that the model holds by place; empty while it is being loaded."""
        return self.worker.memory.bytes if self.worker else {}

    @property
    def host_bytes(self) -> int:
        """The bytes of the host that its process holds now, while it is being loaded as well; 0 if they are not known."""
        process = self.worker.process if self.worker else None
        return private_bytes(process.pid) if process and process.pid and not process.node else 0

    @property
    def measured(self) -> bool:
        """Whether the model is loaded and its weights are where it runs, so that `memory` has what it needs there."""
        worker = self.worker
        return bool(worker and worker.loaded and not (worker.weights.asleep or worker.weights.moving))

    @property
    def load_seconds(self) -> float:
        """What loading the model took; 0 while it is not loaded."""
        return self.worker.loaded.seconds if self.worker and self.worker.loaded else 0.0


def with_batches(performance: PerformanceReport, batches: BatchReport) -> PerformanceReport:
    """Return the report of a model's performance settings with what is known of its batches."""
    sizes = ", ".join(f"{limit} for {size}" for size, limit in sorted(batches.limits.items()) if limit > 1)
    reasons = "; ".join(f"{name}: {reason}" for name, reason in sorted(batches.reasons.items()))
    return replace(
        performance,
        applied={**performance.applied, **({"batching": f"up to {sizes}"} if sizes else {})},
        skipped={**performance.skipped, **({"batching": reasons} if reasons else {})},
    )
