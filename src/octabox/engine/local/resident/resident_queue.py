"""What the residency of models asks of a queue: what its model holds, and how long it stays in memory."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Protocol

from octabox.engine.local.model_worker import ModelWorker
from octabox.engine.local.resident.retention import Retention
from octabox.engine.memory.host import private_bytes
from octabox.types import ModelStatus


class ModelHolder(Protocol):
    """Holds the worker of a model."""

    key: str
    worker: ModelWorker | None

    @property
    def resident(self) -> bool:
        """Whether the model is in memory, or being loaded."""

    @property
    def device(self) -> str | None:
        """The device that the model is on, or is being loaded on."""

    @property
    def asleep(self) -> bool:
        """Whether the weights are on the host until they are needed."""


class ResidentQueue:
    """The part of a queue that concerns the memory of its model.

    Args:
        holder: Holds the model's worker.
        retention: How long the model stays in memory.
    """

    def __init__(self, holder: ModelHolder, retention: Retention) -> None:
        self.name, self.retention, self._holder = holder.key, retention, holder
        self.last_used = time.time()

    @property
    def resident(self) -> bool:
        """Whether the model is in memory, or being loaded."""
        return self._holder.resident

    @property
    def idle(self) -> bool:
        """Whether the model is in memory, and no request waits for it or runs on it."""
        raise NotImplementedError

    @property
    def device(self) -> str | None:
        """The device that the model is on, or is being loaded on."""
        return self._holder.device

    @property
    def memory(self) -> Mapping[str, int]:
        """The bytes that the model holds by place; empty while it is being loaded."""
        worker = self._holder.worker
        return worker.memory.bytes if worker else {}

    @property
    def host_bytes(self) -> int:
        """The bytes of the host that its process holds now, while it is being loaded as well; 0 if they are not known."""
        process = self._holder.worker.process if self._holder.worker else None
        return private_bytes(process.pid) if process and process.pid and not process.node else 0

    @property
    def asleep(self) -> bool:
        """Whether the weights are on the host until they are needed."""
        return self._holder.asleep

    @property
    def measured(self) -> bool:
        """Whether the model is loaded and its weights are where it runs, so that `memory` has what it needs there."""
        worker = self._holder.worker
        return bool(worker and worker.loaded and not (worker.weights.asleep or worker.weights.moving))

    @property
    def load_seconds(self) -> float:
        """What loading the model took; 0 while it is not loaded."""
        worker = self._holder.worker
        return worker.loaded.seconds if worker and worker.loaded else 0.0

    @property
    def pinned(self) -> bool:
        """Whether the model is never unloaded for another one."""
        return self.retention.pinned

    @property
    def expires(self) -> float | None:
        """When the model is unloaded if no request arrives, in seconds since the epoch; None if that will not happen."""
        return self.retention.expires(self.last_used)

    def with_retention(self, status: ModelStatus) -> ModelStatus:
        """Return a status of the model with how long it stays in memory."""
        expires = self.expires if self.idle else None
        return replace(
            status,
            names=self.retention.names,
            last_used=self.last_used,
            time_left=None if expires is None else max(0.0, expires - time.time()),
            pinned=self.pinned,
        )
