"""The queue of each model name: names whose configurations load the same weights share one."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from octabox.config.model import ModelConfig
from octabox.engine.local.resident.retention import Retention
from octabox.engine.memory.identity import loading_key


class ModelQueue(Protocol):
    """The queue of a model."""

    name: str
    retention: Retention

    async def unload(self) -> bool:
        """Unload the model after what it runs; return whether it was in memory."""


Queue = TypeVar("Queue", bound=ModelQueue)


@dataclass
class _Group(Generic[Queue]):
    """The names that share a queue, and the key of what they load."""

    key: str
    queue: Queue


class SharedQueues(Generic[Queue]):
    """The queues of an engine, by the names of the models.

    Args:
        create: Creates a queue with its name and how long its model stays in memory.
        keep_alive: Seconds of models that configure none.
    """

    def __init__(self, create: Callable[[str, Retention], Queue], keep_alive: float) -> None:
        self._create, self._keep_alive = create, keep_alive
        self._groups: list[_Group[Queue]] = []
        self._by_name: dict[str, _Group[Queue]] = {}
        self._known: dict[str, tuple[ModelConfig, str]] = {}
        self._unloads: set[asyncio.Task[bool]] = set()

    def __iter__(self) -> Iterator[Queue]:
        return iter([group.queue for group in self._groups])

    def find(self, name: str) -> Queue | None:
        """Return the queue of a name; None before its first request."""
        group = self._by_name.get(name)
        return group.queue if group else None

    def get(self, model: ModelConfig, pipeline: str) -> Queue:
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

    def _select(self, name: str, key: str) -> _Group[Queue]:
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

    def _leave(self, name: str, group: _Group[Queue]) -> None:
        """Remove a name from a group; the model of a group without names is unloaded once it is idle."""
        group.queue.retention.forget(name)
        if not group.queue.retention.names:
            task = asyncio.get_running_loop().create_task(group.queue.unload(), name=f"unload of {group.queue.name}")
            self._unloads.add(task)
            task.add_done_callback(self._unloads.discard)
