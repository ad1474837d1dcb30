"""Loads that can be ended from outside, and the start of the workers that do them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any

from octabox.engine.local.model_worker import ModelWorker, StartWorker
from octabox.engine.local.processes.forkserver import ProcessStarter
from octabox.engine.local.processes.starting import in_daemon_thread
from octabox.engine.local.queue.queued_request import QueuedRequest
from octabox.engine.messages import Loaded
from octabox.errors import LoadError, OctaboxError
from octabox.types import Progress


class LoadTask:
    """The load of a model for requests that share a batch, or for one alone, if there is a load."""

    def __init__(self) -> None:
        #: The first request that the model is being loaded for, of those whose callers have not left.
        self.request: QueuedRequest | None = None
        self._requests: Sequence[QueuedRequest] = ()
        self._task: asyncio.Task[None] | None = None
        self._error: OctaboxError | None = None

    async def run(self, requests: Sequence[QueuedRequest], load: Coroutine[Any, Any, None]) -> None:
        """Run a load until its end, or until `stop`.

        Raises:
            OctaboxError: The load failed, or this is the error that `stop` was called with.
        """
        self.request = next((each for each in requests if not each.cancelled), requests[0])
        self._requests, self._error = requests, None
        self._task = asyncio.create_task(load, name="load")
        try:
            await self._task
        except asyncio.CancelledError:
            if self._error is None:
                raise
            raise self._error from None
        finally:
            self._task = self.request = None
            self._requests = ()

    def publish(self, progress: Progress) -> None:
        """Publish the progress of the load to the requests that it is for."""
        for each in self._requests:
            each.publish(progress)

    def leave(self, error: OctaboxError) -> None:
        """End the load with an error, since the caller of its request has left; it goes on for another one, if there is one."""
        self.request = next((each for each in self._requests if not each.cancelled), None)
        if self.request is None:
            self.stop(error)

    def stop(self, error: OctaboxError) -> None:
        """End the load with an error, if there is one; the first end counts."""
        if self._task and self._error is None:  # Else its process is being ended, which must not be cancelled.
            self._error = error
            self._task.cancel()


class WorkerStarter:
    """Starts the workers of a model.

    Args:
        model: Name of the model.
        processes: Makes the processes.
        start_worker: Starts a worker.
        timeout: Seconds for a load, and for moving weights.
    """

    def __init__(self, model: str, processes: ProcessStarter, start_worker: StartWorker, timeout: float) -> None:
        self._model, self._processes, self._start_worker, self.timeout = model, processes, start_worker, timeout

    async def start(self, create: Callable[[], Awaitable[ModelWorker]]) -> None:
        """Start a worker that loads the model; a spawned one where a forked one cannot use the accelerators.

        Args:
            create: Creates a worker, whose process this starts, in place of an earlier one.

        Raises:
            LoadError: The start or the load took too long.
            OctaboxError: The model cannot be loaded.
        """
        while True:
            spawned = self._processes.spawns
            worker = await create()
            try:
                answer = await worker.load(self._start_worker, self._processes.context, self.timeout)
            except asyncio.TimeoutError:
                raise await self._timed_out(worker) from None
            if isinstance(answer, Loaded):
                return
            if spawned:
                raise LoadError(f"A new process cannot use {', '.join(answer.device_types)}.", model=self._model)
            self._processes.use_spawn(answer)

    async def _timed_out(self, worker: ModelWorker) -> LoadError:
        """Return the error of a load that took too long; a fork server that has not started the process is ended."""
        if worker.process is None:
            # Its end takes a moment, which the event loop does not wait for.
            await in_daemon_thread(self._processes.end_fork_server)
        return LoadError(
            f"Model '{self._model}' was not loaded within {self.timeout:g} seconds.",
            hint="Raise `load_timeout`, or fetch the model's files first.",
            model=self._model,
        )
