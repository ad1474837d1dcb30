"""One replica of a model: a worker on a node, and what it runs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from octabox.engine.local.queued_request import QueuedRequest
from octabox.engine.local.resident.resident_queue import ResidentQueue
from octabox.engine.local.resident.retention import Retention
from octabox.engine.local.supervisor import WorkerSupervisor
from octabox.errors import LoadError
from octabox.types import ModelStatus

#: Seconds without requests after which a replica that is not the only one is unloaded.
SCALE_DOWN_DELAY = 60.0


class Replica(ResidentQueue):
    """One replica of a model.

    Args:
        supervisor: Keeps its worker.
        retention: How long the model stays in memory.
        is_extra: Returns whether another replica of the model is in memory.
        on_idle: Called after an unload.
    """

    def __init__(
        self,
        supervisor: WorkerSupervisor,
        retention: Retention,
        is_extra: Callable[[Replica], bool],
        on_idle: Callable[[], None],
    ) -> None:
        super().__init__(supervisor, retention)
        self.supervisor, self.serving = supervisor, asyncio.Lock()
        #: The requests that it serves.
        self.current: list[QueuedRequest] = []
        #: The LoRAs of its last call.
        self.adapters: object = None
        self._is_extra, self._on_idle = is_extra, on_idle

    @property
    def loaded(self) -> bool:
        """Whether the model is in memory."""
        worker = self.supervisor.worker
        return worker is not None and worker.loaded is not None

    @property
    def free(self) -> bool:
        """Whether it may serve a request now."""
        return not (self.current or self.serving.locked())

    @property
    def idle(self) -> bool:
        """Whether the model is in memory, and nothing runs on it."""
        return self.resident and self.free and not self.supervisor.busy

    @property
    def pinned(self) -> bool:
        """Whether it is never unloaded for another model, as the only replica of a pinned one is not."""
        return super().pinned and not self._is_extra(self)

    @property
    def expires(self) -> float | None:
        """When it is unloaded if no request arrives; one of several is not needed for long."""
        expires = super().expires
        if not self._is_extra(self):
            return expires
        return min(self.last_used + SCALE_DOWN_DELAY, expires or float("inf"))

    def status(self) -> ModelStatus | None:
        """Return its status; None if the model is not in memory."""
        return self.supervisor.status(waiting=0, busy=bool(self.current))

    async def unload(self) -> bool:
        """End a load, or the worker once it is idle; return whether there was one."""
        was_resident = self.resident
        self.supervisor.loading.stop(_unloading(self.name))
        async with self.serving:
            await self.supervisor.drain()
            was_resident = was_resident or self.resident
            await self.supervisor.stop()
        self._on_idle()
        return was_resident


def _unloading(model: str) -> LoadError:
    message = f"The load of model '{model}' was stopped, since the model is being unloaded."
    return LoadError(message, hint="Send the request again to load it.", model=model)
