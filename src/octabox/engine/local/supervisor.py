"""The workers of one model: start one for the first request, run calls on it, and replace it once it has ended."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Sequence
from functools import partial

from octabox.config.model import ModelConfig
from octabox.engine.local.load_task import LoadTask
from octabox.engine.local.model_worker import ModelWorker, StartWorker, Worker
from octabox.engine.local.processes.forkserver import ProcessStarter
from octabox.engine.local.processes.starting import in_daemon_thread
from octabox.engine.local.queued_request import QueuedRequest, SentCalls, select_calls
from octabox.engine.local.residency import Residency
from octabox.engine.memory.identity import loading_config
from octabox.engine.messages import CancelCall, Loaded, RunBatch, RunCall, Start, WorkerOptions
from octabox.errors import GenerationCancelledError, LoadError, OctaboxError, WorkerDiedError
from octabox.types import Progress


class WorkerSupervisor:
    """Keeps the worker of one model: started for the first request, and replaced once it has ended.

    Args:
        name: Name of the model.
        options: Settings of its workers.
        residency: Decides when and on which device the model is loaded.
        processes: Makes the processes.
        start_worker: Starts a worker.
        load_timeout: Seconds for a load.
        key: Name of the replica among the models in memory; by default that of the model.
        occupied: Returns the devices that the model must not be on, since other replicas are.
    """

    def __init__(
        self,
        name: str,
        options: WorkerOptions,
        residency: Residency,
        processes: ProcessStarter,
        start_worker: StartWorker,
        load_timeout: float,
        key: str = "",
        occupied: Callable[[], Collection[str]] = tuple,
    ) -> None:
        self.key, self._occupied = key or name, occupied
        self.name, self._options, self._load_timeout = name, options, load_timeout
        self._residency, self._processes, self._start_worker = residency, processes, start_worker
        self._sent = SentCalls(name, residency.notify_freed)
        self.worker: ModelWorker | None = None
        self.connect(lambda _: None)
        self.loading = LoadTask()
        self.run_seconds = 1.0  # What the last call took.

    def connect(
        self,
        requeue: Callable[[Sequence[QueuedRequest]], None],
        on_loaded: Callable[[QueuedRequest], None] = lambda _: None,
    ) -> None:
        """Set what receives the requests whose worker has ended, and those that the model was loaded for."""
        self._requeue, self._on_loaded = requeue, on_loaded

    @property
    def resident(self) -> bool:
        """Whether the model is in memory, or being loaded."""
        return self.worker is not None

    @property
    def device(self) -> str | None:
        """The device that the model is on, or is being loaded on."""
        return self.worker.device if self.worker else None

    @property
    def busy(self) -> bool:
        """Whether a call runs, or outputs of one are being encoded."""
        return len(self._sent) > 0

    async def run(self, requests: Sequence[QueuedRequest]) -> None:
        """Load the model of requests unless it is loaded, and run their calls, until the model is free for the next ones."""
        worker = await self._loaded_worker(requests[0])
        requests = select_calls(requests)
        calls = tuple(request.call for request in requests if request.call)
        if not calls:
            return
        began = time.perf_counter()
        try:
            self._sent.add(requests)
            await worker.send(RunCall(calls[0]) if len(calls) == 1 else RunBatch(calls))
            await self._sent.run_finished.wait()
        finally:
            self._sent.discard(requests)
        if requests[0].started:
            self.run_seconds = (time.perf_counter() - began) / len(requests)

    async def cancel(self, request: QueuedRequest) -> None:
        """Cancel the call of a request, if the worker has it."""
        if request.call and request in self._sent and self.worker and self.worker.process:
            await self.worker.process.send(CancelCall(request.call.id))
        elif request is self.loading.request and self.worker is None:
            # A load that has begun continues, since the model may be requested again; one that waits for room does not.
            self.loading.stop(GenerationCancelledError("The request was cancelled.", model=self.name))

    def fail_all(self, error: OctaboxError) -> None:
        """Fail all calls that the worker has been sent."""
        self._sent.fail_all(error)

    async def drain(self) -> None:
        """Wait until no call runs and the outputs of all calls are encoded."""
        await self._sent.all_finished.wait()

    async def stop(self) -> None:
        """End the worker, if there is one, and fail the calls that it has started."""
        worker, self.worker = self.worker, None
        if worker:
            await worker.stop()
            error = WorkerDiedError(f"The worker of model '{self.name}' was ended.", hung=True, model=self.name)
            self._requeue(self._sent.end(error))

    async def _loaded_worker(self, request: QueuedRequest) -> Worker:
        """Return a worker that has loaded the model of a request; start one if need be."""
        requested = (loading_config(request.model), request.pipeline)
        if (worker := self.worker) and (worker.requested != requested or not (worker.process and worker.process.alive)):
            await self.drain()
            await self.stop()
        if self.worker is None:
            began = time.perf_counter()
            request.publish(Progress("loading"))
            await self.loading.run(request, self._load(request))
            request.timings["load"] = time.perf_counter() - began
            self._on_loaded(request)
        if self.worker is None or self.worker.process is None:
            raise WorkerDiedError(f"The worker process of model '{self.name}' ended after its load.", model=self.name)
        return self.worker.process

    async def _load(self, request: QueuedRequest) -> None:
        """Load the model where there is room for it; a load that fails leaves no process."""
        try:
            model, pipeline = request.model, request.pipeline
            start = partial(self._start, requested=(loading_config(model), pipeline))
            warnings = await self._residency.load(self.key, model, start, pipeline, self._occupied())
            request.warnings = (*request.warnings, *warnings)
        except asyncio.TimeoutError:
            if self.worker is None or self.worker.process is None:
                # The fork server does not answer. Its end takes a moment, which the event loop does not wait for.
                await in_daemon_thread(self._processes.end_fork_server)
            await self.stop()
            raise _timed_out(self.name, self._load_timeout) from None
        except BaseException:
            await self.stop()
            raise

    async def _start(self, model: ModelConfig, requested: tuple[ModelConfig, str]) -> None:
        """Start a worker that loads the model; a spawned one where a forked one cannot use the accelerators."""
        while True:
            await self.stop()  # A worker that has failed to load may not have ended yet.
            spawned = self._processes.spawns
            start = Start(model, requested[1], self._options, self._residency.held_by_others(self.key, model.device))
            count = partial(self._residency.on_out_of_memory, self.name)
            worker = self.worker = ModelWorker(start, requested, self._sent, self._on_exit, count)
            answer = await worker.load(self._start_worker, self._processes.context, self._load_timeout)
            if isinstance(answer, Loaded):
                return
            if spawned:
                raise LoadError(f"A new process cannot use {', '.join(answer.device_types)}.", model=self.name)
            self._processes.use_spawn(answer)

    def _on_exit(self, error: OctaboxError) -> None:
        """Forget the worker, which has ended, and fail its calls or have them run again; the queue stays."""
        self.worker = None
        self._requeue(self._sent.end(error))
        self._residency.notify_freed()


def _timed_out(model: str, seconds: float) -> LoadError:
    return LoadError(
        f"Model '{model}' was not loaded within {seconds:g} seconds.",
        hint="Raise `load_timeout`, or fetch the model's files first.",
        model=model,
    )
