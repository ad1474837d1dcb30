"""The model of a backend, which is loaded, replaced and unloaded between requests."""

from __future__ import annotations

import builtins
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Protocol

from octabox.catalog.pipelines import Catalog
from octabox.config.model import ModelConfig
from octabox.errors import LoadError, ModelNotFoundError, ServerStoppingError
from octabox.frontends.grpc.localai.loading.detached_tasks import DetachedTasks
from octabox.frontends.grpc.localai.loading.load_request import LoadRequest, resolve_components
from octabox.frontends.grpc.localai.loading.model_lock import ModelLock
from octabox.frontends.grpc.localai.loading.stoppable_load import StoppableLoad
from octabox.schedulers.names import resolve_scheduler
from octabox.service.selection.inputs import bindings_for
from octabox.service.served_model import ServedModel
from octabox.types import ModelStatus

logger = logging.getLogger("octabox.localai")

#: Words that LocalAI's router looks for: it then calls another backend, or loads the model again.
MISMATCH = "model identity mismatch"


class DynamicModels(Protocol):
    """Models that can be added and removed while the process runs."""

    @property
    def catalog(self) -> Catalog:
        """The catalog of pipelines and schedulers."""
        ...

    def add(self, config: ModelConfig) -> None:
        """Add a model, or replace the one of the same name."""
        ...

    async def remove(self, name: str) -> bool:
        """Unload a model, and remove it if it is still there; return whether it was in memory."""
        ...

    async def served(self, name: str) -> ServedModel:
        """Return a model and its pipeline."""
        ...

    async def load(self, name: str) -> ModelStatus:
        """Load a model into memory."""
        ...

    def status(self) -> builtins.list[ModelStatus]:
        """Return the models in memory."""
        ...


@dataclass(frozen=True)
class LoadedModel:
    """A loaded model.

    Args:
        request: The request that loaded it.
        served: The model and its pipeline.
    """

    request: LoadRequest
    served: ServedModel


class ModelSlot:
    """Holds one model at a time.

    Args:
        models: The models of the process.
    """

    def __init__(self, models: DynamicModels) -> None:
        self._models, self._lock = models, ModelLock()
        self._loaded: LoadedModel | None = None
        self._loads: set[StoppableLoad] = set()
        self._failed = self._closed = False
        self._tasks = DetachedTasks()

    @property
    def catalog(self) -> Catalog:
        """The catalog of pipelines and schedulers."""
        return self._models.catalog

    async def load(self, request: LoadRequest) -> tuple[str, ...]:
        """Load a model after the earlier requests have ended; return warnings about options without effect.

        A load continues when its caller disconnects. The old model is unloaded only after the request is validated.

        Raises:
            OctaboxError: The model cannot be loaded.
        """
        return await self._tasks.run(self._load(request))

    def close(self) -> None:
        """Refuse requests from now on, also those that wait for a load."""
        self._closed = True

    async def free(self) -> bool:
        """Stop the loads that run or wait, and unload the model after the earlier requests; return whether there was one."""
        return await self._tasks.run(self._free())

    @asynccontextmanager
    async def using(self, identity: str) -> AsyncIterator[LoadedModel]:
        """Keep the model loaded within the context.

        Args:
            identity: Name of the model that the caller expects; empty for any.

        Raises:
            ServerStoppingError: The backend is being stopped.
            LoadError: No model is loaded.
            ModelNotFoundError: Another model is loaded.
        """
        async with self._lock.shared():
            loaded = self._loaded
            if self._closed:
                raise ServerStoppingError(model=identity or None)
            if loaded is None:
                raise LoadError("No model has been loaded.", hint="Call LoadModel first.")
            name = loaded.request.identity
            if identity and name and identity != name:
                message = f"{MISMATCH}: '{identity}' was requested, and '{name}' is loaded."
                raise ModelNotFoundError(message, hint="Load it.", model=identity)
            yield loaded

    def state(self) -> str:
        """Return the name of the state in the contract."""
        if self._lock.busy:
            return "BUSY"
        if self._loaded is not None:
            return "READY"
        return "ERROR" if self._failed else "UNINITIALIZED"

    def memory(self) -> Mapping[str, int]:
        """Return the bytes that the model occupies, by device."""
        total: dict[str, int] = {}
        for status in self._models.status():
            for device, size in status.memory.items():
                total[device] = total.get(device, 0) + size
        return total

    def device(self) -> str:
        """Return the device of the model; empty if it is not known."""
        return next((status.device for status in self._models.status() if status.device), "")

    async def _load(self, request: LoadRequest) -> tuple[str, ...]:
        """Replace the model after the earlier requests have ended."""
        load = StoppableLoad(request.config.name)
        self._loads.add(load)
        try:
            async with self._lock.exclusive():
                return await self._replace(request, load)
        finally:
            self._loads.discard(load)

    async def _replace(self, request: LoadRequest, load: StoppableLoad) -> tuple[str, ...]:
        """Replace the model, unless the load is stopped."""
        self._failed = False
        try:
            new = await load.run(self._validate(request))
            name, old = new.request.config.name, self._loaded
            if old is None or old.request.config != new.request.config:
                await self._unload()
            self._models.add(new.request.config)
            try:
                await load.run(self._models.load(name))
            except BaseException:
                self._loaded = None
                # A load in the engine goes on when its caller leaves it.
                await self._models.remove(name)
                raise
            self._loaded = new
        except BaseException:
            self._failed = self._loaded is None
            raise
        logger.info("%s: loaded as %s", name, new.served.pipeline.name)
        return new.request.warnings

    async def _validate(self, request: LoadRequest) -> LoadedModel:
        """Return the model with its pipeline. Nothing is loaded, and the old model stays."""
        name, old = request.config.name, self._loaded
        replaced = old.request.config if old is not None and old.request.config.name == name else None
        self._models.add(request.with_defaults_of_fields(()).config)
        try:
            served = await self._models.served(name)
            family = bindings_for(served, self.catalog).entries
            parameters = {each.name for entry in family for each in entry.parameters}
            request = resolve_components(request, served.pipeline, parameters)
            if scheduler := request.config.scheduler:
                resolve_scheduler(scheduler.name, scheduler.settings, self.catalog.schedulers)
            self._models.add(request.config)
            return LoadedModel(request, await self._models.served(name))
        finally:
            if replaced is not None:
                self._models.add(replaced)
            else:
                await self._models.remove(name)

    async def _free(self) -> bool:
        """Stop the loads, whose callers get an error, and unload the model when no request uses it."""
        stopped = [*self._loads]
        for load in stopped:
            load.stop()
        async with self._lock.exclusive():
            self._failed = False
            return await self._unload() or bool(stopped)

    async def _unload(self) -> bool:
        """Unload the model; return whether there was one."""
        loaded, self._loaded = self._loaded, None
        return loaded is not None and await self._models.remove(loaded.request.config.name)
