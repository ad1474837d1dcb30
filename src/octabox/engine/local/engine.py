"""The engine of one machine: a worker process for each model in memory, and a queue for each model."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import Any

from octabox.config.memory.durations import NEVER
from octabox.config.model import ModelConfig
from octabox.engine.local.devices import DevicePool
from octabox.engine.local.model_worker import StartWorker
from octabox.engine.local.processes.forkserver import ProcessStarter
from octabox.engine.local.processes.worker_process import WorkerProcess
from octabox.engine.local.queue_engine import QueueEngine
from octabox.engine.local.request_queue import RequestQueue
from octabox.engine.local.residency import Residency
from octabox.engine.local.resident.budget import MemoryBudget
from octabox.engine.local.resident.retention import Retention
from octabox.engine.local.supervisor import WorkerSupervisor
from octabox.engine.messages import WorkerOptions
from octabox.security.json_files import read_json
from octabox.security.temporary_folder import remove_abandoned


class LocalEngine(QueueEngine):
    """Runs models in worker processes of this machine.

    Args:
        options: Settings of all workers.
        queue_size: How many calls may wait for one model.
        max_resident: How many models may be in memory together; 0 is no limit.
        load_timeout: Seconds for loading a model, its download included.
        keep_alive: Seconds without requests after which models are unloaded that configure none.
        on_evict: Called with the name of each model that is unloaded for another one or for lack of requests, and why.
        on_out_of_memory: Called with the name of a model for which memory has run out.
        processes: Makes the processes.
        start_worker: Starts a worker; the default is a process of this machine.
    """

    def __init__(
        self,
        options: WorkerOptions | None = None,
        *,
        queue_size: int = 32,
        max_resident: int = 0,
        load_timeout: float = 1800.0,
        keep_alive: float = NEVER,
        on_evict: Callable[[str, str], None] = lambda _name, _reason: None,
        on_out_of_memory: Callable[[str], None] = lambda _name: None,
        processes: ProcessStarter | None = None,
        start_worker: StartWorker = WorkerProcess.start,
    ) -> None:
        self._options, self._queue_size = options or WorkerOptions(), queue_size
        self._load_timeout, self._start_worker = load_timeout, start_worker
        self._processes = processes or ProcessStarter()
        self._devices = devices = DevicePool(self._processes, load_timeout, self._options.max_memory)
        budget = MemoryBudget(self._options.max_memory)
        residency = Residency(
            devices,
            max_resident,
            self._options.device,
            load_timeout,
            budget,
            self._options.dtype,
            on_evict,
            on_out_of_memory,
            keeps_weights=True,
        )
        super().__init__(residency, keep_alive)

    async def start(self, models: Iterable[ModelConfig] = ()) -> None:
        """Start the fork server, which imports the classes of these models in the background.

        Folders that killed processes have left, of whatever command, are deleted while it imports.
        """
        self._closed = False
        preload = sorted({name for model in models for name in component_classes(model)})
        await asyncio.to_thread(self._processes.start, preload)
        await asyncio.to_thread(remove_abandoned)

    async def accelerators(self) -> list[str] | None:
        """Return the names of the accelerators, such as ``cuda:0``; None where they cannot be listed."""
        return await self._devices.names()

    async def devices(self) -> dict[str, Any]:
        """Return the free bytes of each accelerator, as JSON data; those that do not report it have None."""
        return (await self._devices.report()).to_json()

    def _create_queue(self, name: str, retention: Retention) -> RequestQueue:
        def create(key: str, occupied: Callable[[], Collection[str]]) -> WorkerSupervisor:
            return WorkerSupervisor(
                name,
                self._options,
                self._residency,
                self._processes,
                self._start_worker,
                self._load_timeout,
                key,
                occupied,
            )

        return RequestQueue(name, create, self._queue_size, self._residency, retention)


def component_classes(model: ModelConfig) -> list[str]:
    """Return the classes that a model folder's `model_index.json` names, as "library.Class"; [] where there is none."""
    try:
        index = read_json(Path(model.model) / "model_index.json")
        parts = [value for value in index.values() if isinstance(value, list) and len(value) == 2]  # noqa: PLR2004
        named = [f"{library}.{name}" for library, name in parts if library in ("diffusers", "transformers") and name]
        return [f"diffusers.{index['_class_name']}", *named]
    except (OSError, ValueError, AttributeError, KeyError):
        return []
