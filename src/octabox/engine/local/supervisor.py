"""The workers of one model: start one for the first request, run calls on it, and replace it once it has ended."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterator, MutableMapping, Sequence
from contextlib import contextmanager
from functools import partial

from octabox.config.model import ModelConfig
from octabox.engine.local.load_task import LoadTask, WorkerStarter
from octabox.engine.local.model_worker import ModelWorker, StartWorker, Worker, WorkerHolder
from octabox.engine.local.processes.forkserver import ProcessStarter
from octabox.engine.local.processes.uninterrupted import SharedTask
from octabox.engine.local.queue.queued_request import QueuedRequest, select_calls
from octabox.engine.local.queue.sent_calls import SentCalls
from octabox.engine.local.residency import Residency
from octabox.engine.memory.identity import loading_config
from octabox.engine.messages import CancelCall, RunBatch, RunCall, Start, WorkerOptions
from octabox.errors import GenerationCancelledError, OctaboxError, WorkerDiedError
from octabox.types import Progress

logger = logging.getLogger("octabox.engine")


#: Receives requests whose worker has ended.
Requeue = Callable[[Sequence[QueuedRequest]], None]

#: Receives the request that a model was loaded for, and what that took; None where it has only woken up.
OnLoaded = Callable[[QueuedRequest, float | None], None]

#: Receives what a call took, or each one of a batch.
OnRun = Callable[[float], None]


def _ignore(*_: object) -> None:
    """Do nothing."""


class WorkerSupervisor(WorkerHolder):
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
        has_place: Returns whether there is a place for the worker, where starting it waits for one.
    """

    worker: ModelWorker | None = None

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
        has_place: Callable[[], bool] = lambda: True,
    ) -> None:
        self.key, self._occupied, self._has_place = key or name, occupied, has_place
        self.name, self._options, self._residency = name, options, residency
        self._starter, self._ending = WorkerStarter(name, processes, start_worker, load_timeout), SharedTask[bool]()
        self._sent, self.loading = SentCalls(name, partial(residency.notify_freed, self.key)), LoadTask()
        self.connect(lambda _: None)
        self.ready_since = 0.0  # When the model was loaded or has woken up, by `time.perf_counter`.

    def connect(self, requeue: Requeue, on_loaded: OnLoaded = _ignore, on_run: OnRun = _ignore) -> None:
        """Set what receives the requests whose worker has ended, those that the model was loaded for, and what is measured."""
        self._requeue, self._on_loaded, self._on_run = requeue, on_loaded, on_run

    @property
    def busy(self) -> bool:
        """Whether a call runs, or outputs of one are being encoded."""
        return len(self._sent) > 0

    async def run(self, requests: Sequence[QueuedRequest]) -> None:
        """Load the model of requests unless it is loaded, and run their calls, until the model is free for the next ones."""
        worker = await self._loaded_worker(requests)
        requests = select_calls(requests)
        if not requests:
            return
        began = time.perf_counter()
        try:
            calls = self._sent.add(requests)
            await worker.send(RunCall(calls[0]) if len(calls) == 1 else RunBatch(calls))
            await self._sent.run_finished.wait()
        finally:
            self._sent.discard(requests)
        if requests[0].started:
            self._on_run((time.perf_counter() - began) / len(requests))

    async def cancel(self, request: QueuedRequest) -> None:
        """Cancel the call of a request, if the worker has it."""
        if request in self._sent and self.worker and self.worker.process:
            await self.worker.process.send(CancelCall(request.sent_id))
        elif request is self.loading.request and self._waits_for_room:
            # A load that has begun continues, since the model may be requested again; one that waits for room does not.
            self.loading.leave(GenerationCancelledError("The request was cancelled.", model=self.name))

    @property
    def _waits_for_room(self) -> bool:
        """Whether no process loads the model yet."""
        has_begun = self.worker is not None and (self.worker.process is not None or self._has_place())
        return not has_begun or self.asleep

    def fail_all(self, error: OctaboxError) -> None:
        """Fail all calls that the worker has been sent."""
        self._sent.fail_all(error)

    async def drain(self) -> None:
        """Wait until no call runs and the outputs of all calls are encoded."""
        await self._sent.all_finished.wait()

    async def stop(self) -> bool:
        """End the worker, if there is one, and fail the calls that it has started; return whether there was one."""
        return self.worker is not None and await self._ending.run(partial(self._end, self.worker))

    async def _end(self, worker: ModelWorker) -> bool:
        try:
            await worker.stop()
        finally:
            self.worker = None  # Until now, it holds memory.
        error = WorkerDiedError(f"The worker of model '{self.name}' was ended.", hung=True, model=self.name)
        self._requeue(self._sent.end(error))
        return True

    async def _loaded_worker(self, requests: Sequence[QueuedRequest]) -> Worker:
        """Return a worker that has loaded the model of requests; start one if need be."""
        request = requests[0]
        requested = (loading_config(request.model), request.pipeline)
        if (worker := self.worker) and (worker.requested != requested or not (worker.process and worker.process.alive)):
            await self.drain()
            await self.stop()
        if self.worker is None or self.asleep:
            slept = self.asleep and self.worker
            for each in requests:
                each.publish(Progress("loading"))
            with _timed_load(self.name, [each.timings for each in requests]):
                await self.loading.run(requests, self._load(requests))
            self.ready_since = time.perf_counter()
            self._on_loaded(request, None if self.worker is slept else self.load_seconds)
        if self.worker is None or self.worker.process is None:
            raise WorkerDiedError(f"The worker process of model '{self.name}' ended after its load.", model=self.name)
        return self.worker.process

    async def _load(self, requests: Sequence[QueuedRequest]) -> None:
        """Load the model of requests where there is room for it."""
        model, pipeline = requests[0].model, requests[0].pipeline
        start = partial(self._start, requested=(loading_config(model), pipeline))
        warnings = await self._residency.load(self.key, model, start, pipeline, self._occupied())
        for each in requests:
            each.warnings = (*each.warnings, *warnings)

    async def _start(self, model: ModelConfig, requested: tuple[ModelConfig, str], *, makes_room: bool) -> None:
        """Wake the worker up, if it sleeps on that device, or start one that loads the model; a failure leaves no process."""
        occupied = self._residency.models.held_by_others(self.key, model.device)

        async def create() -> ModelWorker:
            await self.stop()  # One that sleeps on another device, or whose fork cannot use the device, is replaced.
            start = Start(model, requested[1], self._options, occupied, makes_room, self._sent.ceilings.of(requested))
            count = partial(self._residency.on_out_of_memory, self.name)
            self.worker = ModelWorker(start, requested, self._sent, self._on_exit, count, self.loading.publish)
            return self.worker

        worker = self.worker if self.asleep and self.device == model.device else None
        try:
            if not worker or not await worker.weights.wake_up(worker.process, occupied, self._starter.timeout):
                await self._starter.start(create)
        except BaseException:
            await self.stop()
            raise

    def _on_exit(self, error: OctaboxError) -> None:
        """Forget the worker, which has ended, and fail its calls or have them run again; the queue stays."""
        self.worker = None
        self._requeue(self._sent.end(error))
        self._residency.notify_freed(self.key)


@contextmanager
def _timed_load(name: str, timings: Sequence[MutableMapping[str, float]]) -> Iterator[None]:
    """Log the start and the end of a load within the context, and note its seconds for each request."""
    began = time.perf_counter()
    logger.info("%s is being loaded", name)
    yield
    seconds = time.perf_counter() - began
    for each in timings:
        each["load"] = seconds
    logger.info("%s is loaded, in %.1f s", name, seconds)
