"""The engine of one machine: a worker process for each model in memory, and a queue for each model."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from pathlib import Path

from octabox.config.model import ModelConfig
from octabox.engine.local.devices import DevicePool
from octabox.engine.local.forkserver import ProcessStarter
from octabox.engine.local.queued_request import QueuedRequest
from octabox.engine.local.request_queue import ModelQueue
from octabox.engine.messages import WorkerOptions
from octabox.engine.protocol import Call
from octabox.errors import OutOfMemoryError
from octabox.types import Event, ModelStatus

logger = logging.getLogger("octabox.engine")


class LocalEngine:
    """Runs models in worker processes of this machine.

    Args:
        options: What every worker must know.
        queue_size: How many calls may wait for one model.
        max_resident: How many models may be in memory at once; 0 is no limit.
        load_timeout: Seconds for loading a model, its download included.
    """

    def __init__(
        self,
        options: WorkerOptions | None = None,
        *,
        queue_size: int = 32,
        max_resident: int = 0,
        load_timeout: float = 1800.0,
    ) -> None:
        self._options = options or WorkerOptions()
        self._queue_size, self._max_resident = queue_size, max_resident
        self._load_timeout = load_timeout
        self.processes = ProcessStarter()
        self._devices = DevicePool(self.processes, load_timeout)
        self._queues: dict[str, ModelQueue] = {}
        self._freed = asyncio.Condition()
        self._notices: set[asyncio.Task[None]] = set()

    async def start(self, models: Iterable[ModelConfig] = ()) -> None:
        """Start the fork server, which imports what these models need in the background."""
        warm = sorted({name for model in models for name in component_classes(model)})
        await asyncio.to_thread(self.processes.start, warm)

    async def generate(self, call: Call) -> AsyncGenerator[Event, None]:
        """Run a call, loading its model if need be; closing the iterator cancels it."""
        events = self._queue(call.model.name).events(QueuedRequest(call.model, call.pipeline, call))
        try:
            async for event in events:
                yield event
        finally:
            await events.aclose()

    async def load(self, model: ModelConfig, pipeline: str) -> ModelStatus:
        """Bring a model into memory, if it is not there yet."""
        queue = self._queue(model.name)
        async for _ in queue.events(QueuedRequest(model, pipeline)):
            pass
        return queue.status() or ModelStatus(model.name, "ready", pipeline)

    async def unload(self, name: str) -> bool:
        """End a model's worker, after the call it runs; return whether it was in memory."""
        queue = self._queues.get(name)
        return queue is not None and await queue.unload()

    def status(self) -> list[ModelStatus]:
        """Return all models in memory or on their way there."""
        return [status for queue in self._queues.values() if (status := queue.status())]

    async def close(self) -> None:
        """Cancel everything, end all workers and wait for them."""
        await asyncio.gather(*(queue.close() for queue in self._queues.values()))

    def _queue(self, name: str) -> ModelQueue:
        if name not in self._queues:
            self._queues[name] = ModelQueue(name, self._queue_size, self._options, self, self._load_timeout)
        return self._queues[name]

    async def load_on_device(
        self, queue: ModelQueue, model: ModelConfig, load: Callable[[ModelConfig], Awaitable[None]]
    ) -> None:
        """Make room for one more model, choose its device, and load its configuration for that device.

        Where memory runs out, the model on that device that was idle longest is unloaded, and the load is tried once more.

        Args:
            queue: The model's queue.
            model: The model's configuration.
            load: Loads a configuration.
        """
        await self._make_room(queue)
        requested = model.device or self._options.device
        in_use = [other.device for other in self._queues.values() if other.device and other is not queue]
        async with self._devices.assigned(model, requested, in_use) as device:
            placed = model if device is None else model.model_copy(update={"device": device})
            try:
                await load(placed)
            except OutOfMemoryError as error:
                idle = self._longest_idle(device, queue)
                if idle is None:
                    raise
                logger.warning("%s: %s is unloaded, and the load is tried once more", error.message, idle.name)
                await idle.unload()
                await load(placed)

    def _longest_idle(self, device: str | None, newcomer: ModelQueue) -> ModelQueue | None:
        """Return the model on a device that was idle longest; None where none is idle there."""
        others = [queue for queue in self._queues.values() if queue.idle and queue is not newcomer]
        here = [queue for queue in others if device in (None, queue.device)]
        return min(here, key=lambda queue: queue.last_used, default=None)

    async def _make_room(self, newcomer: ModelQueue) -> None:
        """Unload models that were idle longest until one more may come; wait where all are busy."""
        while self._max_resident:
            resident = [queue for queue in self._queues.values() if queue.resident and queue is not newcomer]
            if len(resident) < self._max_resident:
                return
            idle = sorted((queue for queue in resident if queue.idle), key=lambda queue: queue.last_used)
            if idle:
                await idle[0].unload()
            else:
                async with self._freed:
                    await self._freed.wait()

    def notice_freed(self) -> None:
        """Wake those that wait for room."""

        async def notify() -> None:
            async with self._freed:
                self._freed.notify_all()

        notice = asyncio.get_running_loop().create_task(notify())
        self._notices.add(notice)
        notice.add_done_callback(self._notices.discard)


def component_classes(model: ModelConfig) -> list[str]:
    """Return the classes that a model folder's `model_index.json` names, as "library.Class"; [] where there is none."""
    try:
        index = json.loads((Path(model.model) / "model_index.json").read_text(encoding="utf-8"))
        parts = [value for value in index.values() if isinstance(value, list) and len(value) == 2]  # noqa: PLR2004
        named = [f"{library}.{name}" for library, name in parts if library in ("diffusers", "transformers") and name]
        return [f"diffusers.{index['_class_name']}", *named]
    except (OSError, ValueError, AttributeError, KeyError):
        return []
