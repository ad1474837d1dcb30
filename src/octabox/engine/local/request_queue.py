"""One model's queue and the worker that serves it: first in, first out, one call at a time."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Protocol

from octabox.config.model import ModelConfig
from octabox.engine.local.forkserver import ProcessStarter, end_fork_server
from octabox.engine.local.limits import watched
from octabox.engine.local.queued_request import QueuedRequest, SentCalls
from octabox.engine.local.worker_process import SHUTDOWN_TIMEOUT, WorkerProcess
from octabox.engine.messages import (
    BadFork,
    CancelCall,
    Failed,
    Finished,
    FromWorker,
    Loaded,
    LoadFailed,
    Memory,
    RunCall,
    RunFinished,
    RunStarted,
    Start,
    StepDone,
    WorkerOptions,
)
from octabox.errors import DeviceError, LoadError, OctaboxError, QueueFullError, WorkerDiedError
from octabox.types import Event, ModelStatus, Progress

logger = logging.getLogger("octabox.engine")


class Host(Protocol):
    """What holds the queues of all models, and shares the machine between them."""

    processes: ProcessStarter

    async def load_on_device(
        self, queue: ModelQueue, model: ModelConfig, load: Callable[[ModelConfig], Awaitable[None]]
    ) -> None:
        """Make room for one more model, choose its device, and load its configuration for that device."""

    def notice_freed(self) -> None:
        """Take notice that a model has become idle, or has been unloaded."""


class ModelQueue:
    """The calls that wait for one model, and its worker process while it is in memory.

    Args:
        name: Name of the model.
        limit: How many calls may wait.
        options: What its workers must know.
        host: Shares the machine between the models.
        load_timeout: Seconds for loading the model.
    """

    def __init__(self, name: str, limit: int, options: WorkerOptions, host: Host, load_timeout: float) -> None:
        self.name, self._limit, self._options = name, limit, options
        self._host, self._load_timeout = host, load_timeout
        self._waiting: deque[QueuedRequest] = deque()
        self._sent = SentCalls(name)
        self._current: QueuedRequest | None = None
        self._worker: WorkerProcess | None = None
        self._loaded: asyncio.Future[Loaded | BadFork] | None = None
        self._loaded_for: tuple[ModelConfig, str] | None = None
        self._ready: Loaded | None = None
        self.device: str | None = None  # Where the model runs, or is being loaded.
        self._memory = Memory()
        self._serving = asyncio.Lock()
        self._server: asyncio.Task[None] | None = None
        self._call_seconds = 1.0
        self._since = self.last_used = time.time()

    @property
    def resident(self) -> bool:
        """Whether the model holds memory, or is about to."""
        return self._loaded_for is not None

    @property
    def idle(self) -> bool:
        """Whether the model is in memory and nothing waits for it or runs on it."""
        return self.resident and not self._serving.locked() and not self._sent and not self._waiting

    async def events(self, queued: QueuedRequest) -> AsyncGenerator[Event, None]:
        """Queue a ticket and yield what comes of it; closing the iterator gives the place up or cancels the call."""
        self._enqueue(queued)
        try:
            while (event := await queued.events.get()) is not None:
                if isinstance(event, OctaboxError):
                    raise event
                yield event
        finally:
            await self._remove(queued)

    async def unload(self) -> bool:
        """End the worker once it is idle, or sooner where it shows no sign of life; return whether there was one."""
        was_resident = self.resident
        async with watched(lambda: self._worker), self._serving:
            await self._sent.drained.wait()  # The last call's artifacts may still be being encoded.
            was_resident = was_resident or self.resident
            await self._stop()
        self._host.notice_freed()
        return was_resident

    async def close(self) -> None:
        """Cancel everything that waits or runs, and end the worker."""
        self._sent.close([*self._waiting, *([self._current] if self._current else [])])
        self._waiting.clear()
        if self._server:
            self._server.cancel()
            await asyncio.wait({self._server}, timeout=3 * SHUTDOWN_TIMEOUT)
        await self._stop()

    def status(self) -> ModelStatus | None:
        """Return what the model does now; None if it is not in memory."""
        if self._worker is None or self._loaded_for is None:
            return None
        return ModelStatus(
            model=self.name,
            state="loading" if not self._ready else "busy" if self._current or self._sent else "ready",
            pipeline=self._loaded_for[1] if self._ready else None,
            device=self.device,
            memory=dict(self._memory.bytes),
            allocated=dict(self._memory.allocated),
            waiting=len(self._waiting),
            pid=self._worker.pid,
            since=self._since,
            performance=self._ready.performance if self._ready else None,
        )

    def _enqueue(self, queued: QueuedRequest) -> None:
        if queued.call and len(self._waiting) >= self._limit:
            raise QueueFullError(
                f"The queue of model '{self.name}' is full: {self._limit} requests are waiting.",
                retry_after=max(1.0, self._call_seconds * self._limit),
                hint="Try again later, or raise `queue_size`.",
                model=self.name,
            )
        self._waiting.append(queued)
        self._publish_positions()
        if self._server is None or self._server.done():
            self._server = asyncio.create_task(self._serve(), name=f"queue of {self.name}")

    async def _remove(self, queued: QueuedRequest) -> None:
        if queued in self._waiting:
            self._waiting.remove(queued)
            self._publish_positions()
        queued.cancelled = True
        if queued.call and queued.call.id in self._sent and self._worker:
            await self._worker.send(CancelCall(queued.call.id))

    def _publish_positions(self) -> None:
        ahead = 1 if self._current else 0
        for place, queued in enumerate(self._waiting):
            queued.events.put_nowait(Progress("queued", position=place + ahead))

    async def _serve(self) -> None:
        """Serve tickets until none waits."""
        while self._waiting:
            async with self._serving:
                if not self._waiting:
                    break
                queued = self._current = self._waiting.popleft()
                queued.timings["queue"] = time.perf_counter() - queued.enqueued_at
                self._publish_positions()
                try:
                    await self._serve_one(queued)
                except Exception as error:  # noqa: BLE001 (whatever it is, it ends this request alone)
                    self._sent.fail(queued, error)
                finally:
                    self._sent.give_up(queued)
                    self._current = None
                    self.last_used = time.time()
        self._host.notice_freed()

    async def _serve_one(self, queued: QueuedRequest) -> None:
        worker = await self._worker_for(queued)
        if queued.call is None:
            queued.events.put_nowait(None)
            return
        began = time.perf_counter()
        while not queued.cancelled:
            self._sent.add(queued.call.id, queued)
            await worker.send(RunCall(queued.call))
            await self._sent.ran.wait()
            if queued.begun:
                break
            worker = await self._worker_for(queued)  # The last one had died before it took the call up.
        self._call_seconds = time.perf_counter() - began

    async def _worker_for(self, queued: QueuedRequest) -> WorkerProcess:
        """Return a worker that has loaded the ticket's model, starting one if need be."""
        wanted = (queued.model, queued.pipeline)
        if self._worker and (self._loaded_for != wanted or not self._worker.alive):
            async with watched(lambda: self._worker):
                await self._sent.drained.wait()  # As in `unload`.
            await self._stop()
        if self._worker is None:
            began = time.perf_counter()
            queued.events.put_nowait(Progress("loading"))
            try:
                await self._host.load_on_device(self, queued.model, lambda model: self._load(model, wanted))
            except asyncio.TimeoutError:
                if self._worker is None:
                    end_fork_server()
                await self._stop()
                hint = "Raise `load_timeout`, or fetch the model's files first."
                message = f"Model '{self.name}' was not loaded within {self._load_timeout:g} seconds."
                raise LoadError(message, hint=hint, model=self.name) from None
            except BaseException:
                await self._stop()
                raise
            self._since = time.time()
            queued.timings["load"] = time.perf_counter() - began
        if self._worker is None:
            raise WorkerDiedError(f"The worker process of model '{self.name}' ended after its load.", model=self.name)
        return self._worker

    async def _load(self, model: ModelConfig, wanted: tuple[ModelConfig, str]) -> None:
        """Start a worker that loads the model; where a forked one cannot use the accelerators, a spawned one."""
        while True:
            await self._stop()  # One that failed to load may still be ending, and its end is not that of the next.
            self._loaded, self._loaded_for = asyncio.get_running_loop().create_future(), wanted
            self._ready, self.device, spawned = None, model.device, self._host.processes.spawns
            order = Start(model, wanted[1], self._options)
            start = WorkerProcess.start(order, self._on_message, self._host.processes.context)
            self._worker = await asyncio.wait_for(start, self._load_timeout)
            answer = await asyncio.wait_for(asyncio.shield(self._loaded), self._load_timeout)
            if isinstance(answer, Loaded):
                self._ready, self.device = answer, answer.device
                return
            if spawned:
                raise LoadError(f"A new process cannot use {', '.join(answer.device_types)}.", model=self.name)
            self._host.processes.use_spawn(answer)

    async def _stop(self) -> None:
        worker, self._worker = self._worker, None
        self._loaded_for, self.device, self._memory = None, None, Memory()
        if worker:
            await worker.stop()
            self._sent.finish_begun(WorkerDiedError(f"The worker of model '{self.name}' was ended.", model=self.name))

    def _on_message(self, message: FromWorker | None) -> None:
        """Take a message from the worker, or its end."""
        if isinstance(message, StepDone):
            self._sent.publish(message.id, message.progress)
        elif isinstance(message, RunStarted):
            self._sent.begin(message.id)
        elif isinstance(message, RunFinished):
            self._sent.ran.set()
        elif isinstance(message, Finished):
            self._sent.finish(message.id, message.generation)
        elif isinstance(message, Failed):
            self._sent.finish(message.id, message.error)
            self._sent.ran.set()
        elif isinstance(message, Memory):
            self._memory = message
        elif isinstance(message, Loaded | BadFork):
            self._resolve_load(message)
        elif isinstance(message, LoadFailed):
            self._resolve_load(message.error)
        else:
            self._on_worker_exit()

    def _resolve_load(self, outcome: Loaded | BadFork | OctaboxError) -> None:
        if self._loaded and not self._loaded.done():
            if isinstance(outcome, OctaboxError):
                self._loaded.set_exception(outcome)
            else:
                self._loaded.set_result(outcome)

    def _on_worker_exit(self) -> None:
        """Fail what the worker that has just ended was doing; the queue behind it stays."""
        if self._worker is None:  # We ended it ourselves.
            return
        error = self._worker.exit_error(self.name)
        if not isinstance(error, DeviceError):  # That has been logged with the call that it ended.
            logger.warning("%s", error)
        self._resolve_load(error)
        self._worker, self._loaded_for, self.device, self._memory = None, None, None, Memory()
        self._sent.finish_begun(error)
        self._host.notice_freed()
