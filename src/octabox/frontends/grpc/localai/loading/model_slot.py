"""The one model of a backend: brought in, replaced and freed in turns with the requests that run on it."""

from __future__ import annotations

import asyncio
import builtins
import logging
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from octabox.catalog.pipelines import Catalog
from octabox.config.model import ModelConfig
from octabox.errors import LoadError, ModelNotFoundError
from octabox.frontends.grpc.localai.loading.load_request import LoadRequest, fitted
from octabox.frontends.grpc.localai.loading.request_gate import RequestGate
from octabox.schedulers.names import resolve_scheduler
from octabox.service.selection.inputs import bindings_for
from octabox.service.served_model import ServedModel
from octabox.types import ModelStatus

T = TypeVar("T")

logger = logging.getLogger("octabox.localai")

#: What LocalAI's router knows by these words: it asks another backend, or loads the model again.
MISMATCH = "model identity mismatch"


class Models(Protocol):
    """The models of the process."""

    @property
    def catalog(self) -> Catalog:
        """The catalog of pipelines and schedulers."""
        ...

    def add(self, config: ModelConfig) -> None:
        """Serve a model, in place of one of the same name."""
        ...

    async def remove(self, name: str) -> bool:
        """Serve a model no longer, and take it out of memory."""
        ...

    async def served(self, name: str) -> ServedModel:
        """Return a model and its pipeline."""
        ...

    async def load(self, name: str) -> ModelStatus:
        """Bring a model into memory."""
        ...

    def status(self) -> builtins.list[ModelStatus]:
        """Return the models in memory."""
        ...


@dataclass(frozen=True)
class ResidentModel:
    """A model that has been loaded.

    Args:
        wanted: What LocalAI's core asked for.
        served: The model and its pipeline.
    """

    wanted: LoadRequest
    served: ServedModel


class ModelSlot:
    """Holds one model at a time.

    Args:
        models: The models of the process.
        turns: Decides who works when.
    """

    def __init__(self, models: Models, turns: RequestGate) -> None:
        self._models, self._turns = models, turns
        self._resident: ResidentModel | None = None
        self._failed = False
        self._work: set[asyncio.Task[Any]] = set()

    @property
    def catalog(self) -> Catalog:
        """The catalog of pipelines and schedulers."""
        return self._models.catalog

    async def load(self, wanted: LoadRequest) -> tuple[str, ...]:
        """Bring a model in, once the requests that came before are done; return what is not honoured.

        A caller that goes away does not stop it. Until the new model is known to be right, the old one stays.

        Raises:
            OctaboxError: It cannot be loaded; the old one is there still, or none is.
        """
        return await self._whole(self._load(wanted))

    async def free(self) -> bool:
        """Take the model out of memory, once the requests that came before are done; return whether there was one."""
        return await self._whole(self._free())

    @asynccontextmanager
    async def using(self, identity: str) -> AsyncIterator[ResidentModel]:
        """Use the model.

        Args:
            identity: What the caller takes the model for; empty where it does not say.

        Raises:
            LoadError: There is none.
            ModelNotFoundError: It is another one.
            QueueFullError: Too many wait for it.
        """
        async with self._turns.shared():
            resident = self._resident
            if resident is None:
                raise LoadError("No model has been loaded.", hint="Call LoadModel first.")
            loaded = resident.wanted.identity
            if identity and loaded and identity != loaded:
                message = f"{MISMATCH}: '{identity}' was asked for, and '{loaded}' is loaded."
                raise ModelNotFoundError(message, hint="Load it.", model=identity)
            yield resident

    def state(self) -> str:
        """Return the name of the state, as the contract has it."""
        if self._turns.busy:
            return "BUSY"
        if self._resident is not None:
            return "READY"
        return "ERROR" if self._failed else "UNINITIALIZED"

    def memory(self) -> Mapping[str, int]:
        """Return the bytes that the model holds, by place."""
        held: dict[str, int] = {}
        for status in self._models.status():
            for place, size in status.memory.items():
                held[place] = held.get(place, 0) + size
        return held

    def device(self) -> str:
        """Return where the model runs; empty where there is none, or that is not known."""
        return next((status.device for status in self._models.status() if status.device), "")

    async def _load(self, wanted: LoadRequest) -> tuple[str, ...]:
        async with self._turns.alone():
            self._failed = False
            try:
                new = await self._checked(wanted)
                name, old = new.served.config.name, self._resident
                if old is None or old.served.config != new.served.config:
                    await self._clear()
                self._models.add(new.served.config)
                try:
                    await self._models.load(name)
                except BaseException:
                    self._resident = None
                    await self._models.remove(name)
                    raise
                self._resident = new
            except BaseException:
                self._failed = self._resident is None
                raise
            logger.info("%s: loaded as %s", name, new.served.pipeline.name)
            return new.wanted.warnings

    async def _checked(self, wanted: LoadRequest) -> ResidentModel:
        """Return the model once it is known which pipeline it is of; nothing is loaded for that, and the old one stays."""
        name, old = wanted.config.name, self._resident
        replaced = old.served.config if old is not None and old.served.config.name == name else None
        self._models.add(wanted.config)
        try:
            served = await self._models.served(name)
            family = bindings_for(served, self.catalog).entries
            wanted = fitted(wanted, served.pipeline, {each.name for entry in family for each in entry.parameters})
            if scheduler := wanted.config.scheduler:
                resolve_scheduler(scheduler.name, scheduler.settings, self.catalog.schedulers)
            self._models.add(wanted.config)
            return ResidentModel(wanted, await self._models.served(name))
        finally:
            if replaced is not None:
                self._models.add(replaced)
            else:
                await self._models.remove(name)

    async def _free(self) -> bool:
        async with self._turns.alone():
            self._failed = False
            return await self._clear()

    async def _clear(self) -> bool:
        resident, self._resident = self._resident, None
        return resident is not None and await self._models.remove(resident.served.config.name)

    async def _whole(self, work: Coroutine[Any, Any, T]) -> T:
        """Run to the end what must not stay half done, even when the caller goes away."""
        task = asyncio.create_task(work)
        self._work.add(task)
        task.add_done_callback(self._ended)
        return await asyncio.shield(task)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._work.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.debug("The model was not loaded: %s", error)
