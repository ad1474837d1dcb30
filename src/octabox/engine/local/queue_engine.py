"""What the engines of one machine and of a cluster have in common: a queue for each model, which all of its names share."""

from __future__ import annotations

import asyncio
import itertools
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Callable, Iterator
from dataclasses import dataclass

from octabox.config.model import ModelConfig
from octabox.engine.local.queue.queued_request import QueuedRequest
from octabox.engine.local.request_queue import RequestQueue
from octabox.engine.local.residency import Residency
from octabox.engine.local.resident.retention import Retention
from octabox.engine.memory.identity import loading_key
from octabox.engine.protocol import Call
from octabox.errors import ServerStoppingError
from octabox.types import Event, ModelStatus


class QueueEngine(ABC):
    """Runs each call by the queue of its model; what starts the workers is left to the engine.

    Args:
        residency: The models in memory.
        keep_alive: Seconds without requests after which models are unloaded that configure none.
    """

    def __init__(self, residency: Residency, keep_alive: float) -> None:
        self._residency = residency
        self._queues = SharedQueues(self._create_queue, keep_alive)
        self._closed = False

    def check_room(self, name: str, client: str) -> None:
        """Check that a call of a client may wait for a model."""
        self._check_open(name)
        if queue := self._queues.find(name):
            queue.check_room(client)

    def generate(self, call: Call) -> AsyncGenerator[Event, None]:
        """Run a call, loading its model if need be; closing the iterator cancels it."""
        queue = self._queue(call.model, call.pipeline)
        if call.keep_alive is not None:
            queue.retention.request(call.model.name, call.keep_alive, None)
        return queue.events(QueuedRequest(call.model, call.pipeline, call))

    async def load(self, model: ModelConfig, pipeline: str) -> ModelStatus:
        """Load a model, unless it is in memory."""
        queue = self._queue(model, pipeline)
        async for _ in queue.events(QueuedRequest(model, pipeline)):
            pass
        return queue.status() or ModelStatus(model.name, "ready", pipeline)

    async def unload(self, name: str) -> bool:
        """End the replicas of a model, each after the call that it runs; return whether the model was in memory."""
        queue = self._queues.find(name)
        return queue is not None and await queue.unload()

    def retain(self, name: str, keep_alive: float | None, pin: bool | None) -> None:
        """Change how long a model in memory stays there, until it is unloaded; None leaves a value as it is."""
        if queue := self._queues.find(name):
            queue.retention.request(name, keep_alive, pin)
            self._residency.notify_freed()

    def status(self) -> list[ModelStatus]:
        """Return all models in memory or being loaded."""
        return [status for queue in self._queues if (status := queue.status())]

    def waiting(self) -> dict[str, int]:
        """Return how many requests wait by model, also of models that have no place in memory yet."""
        found = ((queue, queue.status(), queue.waiting) for queue in self._queues)
        return {status.model if status else queue.name: count for queue, status, count in found if status or count}

    async def close(self) -> None:
        """Fail all requests, end all workers, and refuse new requests."""
        self._closed = True
        self._residency.close()
        await asyncio.gather(*(queue.close() for queue in self._queues))

    def _queue(self, model: ModelConfig, pipeline: str) -> RequestQueue:
        """Return the queue of a model, which is made for the first request of those that share it.

        Raises:
            ServerStoppingError: The engine is closed.
        """
        self._check_open(model.name)
        return self._queues.get(model, pipeline)

    @abstractmethod
    def _create_queue(self, name: str, retention: Retention) -> RequestQueue:
        """Create the queue of a model."""

    def _check_open(self, name: str) -> None:
        """Refuse a request for a model while the engine is closed."""
        if self._closed:
            raise ServerStoppingError(model=name)


@dataclass
class _Group:
    """The names that share a queue, and the key of what they load."""

    key: str
    queue: RequestQueue


class SharedQueues:
    """The queues of an engine, by the names of the models.

    Args:
        create: Creates a queue with its name and how long its model stays in memory.
        keep_alive: Seconds of models that configure none.
    """

    def __init__(self, create: Callable[[str, Retention], RequestQueue], keep_alive: float) -> None:
        self._create, self._keep_alive = create, keep_alive
        self._groups: list[_Group] = []
        self._by_name: dict[str, _Group] = {}
        self._known: dict[str, tuple[ModelConfig, str]] = {}
        self._unloads: set[asyncio.Task[bool]] = set()

    def __iter__(self) -> Iterator[RequestQueue]:
        return iter([group.queue for group in self._groups])

    def find(self, name: str) -> RequestQueue | None:
        """Return the queue of a name; None before its first request."""
        group = self._by_name.get(name)
        return group.queue if group else None

    def get(self, model: ModelConfig, pipeline: str) -> RequestQueue:
        """Return the queue of a configuration; one that has changed may be that of other names now."""
        name = model.name
        if self._known.get(name) != (model, pipeline):
            group = self._select(name, loading_key(model, pipeline))
            before = self._by_name.get(name)
            if before is not None and before is not group:
                self._leave(name, before)
            self._by_name[name], self._known[name] = group, (model, pipeline)
            group.queue.retention.configure(model)
        return self._by_name[name].queue

    def _select(self, name: str, key: str) -> _Group:
        """Return the group that a name belongs to by the key of what it loads."""
        if found := next((group for group in self._groups if group.key == key), None):
            return found
        before = self._by_name.get(name)
        if before is not None and before.queue.retention.names == (name,):
            before.key = key  # Its queue replaces the worker.
            return before
        taken = {group.queue.name for group in self._groups}
        names = itertools.chain([name], (f"{name} ({number})" for number in itertools.count(2)))
        group = _Group(
            key, self._create(next(each for each in names if each not in taken), Retention(self._keep_alive))
        )
        self._groups.append(group)
        return group

    def _leave(self, name: str, group: _Group) -> None:
        """Remove a name from a group; the model of a group without names is unloaded once it is idle."""
        group.queue.retention.forget(name)
        if not group.queue.retention.names:
            task = asyncio.get_running_loop().create_task(group.queue.unload(), name=f"unload of {group.queue.name}")
            self._unloads.add(task)
            task.add_done_callback(self._unloads.discard)
