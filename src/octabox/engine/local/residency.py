"""Which models are in memory, and which one makes room for another."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection
from functools import partial
from typing import Protocol

from octabox.config.model import ModelConfig
from octabox.engine.local.resident.budget import MemoryBudget
from octabox.engine.local.resident.device_loads import Attempt, DeviceLoads
from octabox.engine.local.resident.eviction import Evictions
from octabox.engine.local.resident.resident_models import ResidentModels
from octabox.engine.local.resident.retention import IdleUnloader
from octabox.engine.local.resident.room import Devices, MemoryRoom, ResidentModel
from octabox.engine.local.resident.turns import PlaceTurns
from octabox.errors import OutOfMemoryError

logger = logging.getLogger("octabox.engine")


class LoadModel(Protocol):
    """Loads a model."""

    def __call__(self, model: ModelConfig, *, makes_room: bool) -> Awaitable[None]:
        """Load a configuration.

        Args:
            model: The configuration.
            makes_room: Whether another model leaves the device, and this one is loaded again, where memory runs out.
        """


class Residency:
    """The models in memory. Where there is no room for another one, an idle model is unloaded, or one in use at its turn's end.

    It is the one that is worth least for each of its bytes: the time of its load, by the chance that it is needed soon.

    Args:
        devices: Chooses the device of each model.
        max_resident: How many models may be in memory together; 0 is no limit.
        device: Device of models that name none.
        timeout: Seconds that a load waits for room; None is no limit.
        budget: How many bytes models may use; None does not count them.
        dtype: Dtype of models that configure none.
        on_evict: Called with the name of each model that is unloaded, and why: ``count``, ``memory`` or ``keep_alive``.
        on_out_of_memory: Called with the name of a model for which memory has run out.
        keeps_weights: Whether the weights of a model that leaves its device stay on the host, where that has room.
        share_devices: Whether models whose devices have the same name share its memory.
    """

    def __init__(
        self,
        devices: Devices,
        max_resident: int = 0,
        device: str | None = None,
        timeout: float | None = None,
        budget: MemoryBudget | None = None,
        dtype: str = "auto",
        on_evict: Callable[[str, str], None] = lambda _name, _reason: None,
        on_out_of_memory: Callable[[str], None] = lambda _name: None,
        *,
        keeps_weights: bool = False,
        share_devices: bool = True,
    ) -> None:
        self.models = models = ResidentModels(share_devices=share_devices)
        self._turns, self._freed = PlaceTurns(models.by_name), asyncio.Event()
        self._idle = IdleUnloader(models.by_name.values, lambda name: on_evict(name, "keep_alive"))
        self._room = MemoryRoom(devices, budget, dtype)
        self._evictions = evictions = Evictions(
            models, self._room, self._turns, max_resident, lambda: self._freed, on_evict, keeps_weights=keeps_weights
        )
        self._timeout, self.on_out_of_memory = timeout, on_out_of_memory
        #: Loads models on devices.
        self.placement = DeviceLoads(devices, device, lambda: evictions.full, models.resident, lambda: self._freed)

    def add(self, model: ResidentModel) -> None:
        """Add a model that may be loaded."""
        self.models.by_name[model.name] = model

    def notify_freed(self, *names: str) -> None:
        """Wake the loads that wait for room, since a model has become idle or has left memory.

        Args:
            names: The models that have changed; none is any.
        """
        del names
        self._freed.set()
        self._freed = asyncio.Event()
        self._idle.update()

    def notify_taken(self, model: ResidentModel) -> None:
        """Wake the loads that wait for room, where a model that has taken a request has to give its place to one of them."""
        if self._turns.is_awaited(model):
            self.notify_freed(model.name)

    def close(self) -> None:
        """Unload no models for lack of requests any more."""
        self._idle.stop()

    async def load(
        self,
        name: str,
        model: ModelConfig,
        load: LoadModel,
        pipeline: str = "",
        occupied: Collection[str] = (),
    ) -> tuple[str, ...]:
        """Make room for a model, choose its device, and load it there.

        Where memory runs out, an idle model on that device is unloaded, and the load is repeated once; then on another device.

        Args:
            name: Name of the model.
            model: Its configuration.
            load: Loads a configuration.
            pipeline: Class that it is loaded as.
            occupied: Devices that hold other replicas of it.

        Returns:
            Warnings: which devices it could not be loaded on.

        Raises:
            CapacityError: There is no room.
        """
        end = None if self._timeout is None else time.monotonic() + self._timeout
        load_placed = partial(self._load_placed, name, load, pipeline)
        sleeps_on, patience = self.models.sleeps_on(name), self.models.by_name[name].load_seconds
        try:
            await self._evictions.make_room(name, end)
            self._end_wait(name)
            self.models.admitted.add(name)
            return await self.placement.load(Attempt(name, model, load_placed, occupied, end, sleeps_on, patience))
        finally:
            self.models.admitted.discard(name)
            self.models.needs.pop(name, None)
            self._turns.end(name)
            self.notify_freed(name)

    async def _load_placed(self, name: str, load: LoadModel, pipeline: str, placed: ModelConfig) -> None:
        """Load a model on its devices; where memory runs out, once again after an idle model on each was unloaded."""
        try:
            await self._evictions.make_memory(name, placed, pipeline)
            self._end_wait(name)
            devices = placed.device_names or (placed.device,)
            makes_room = self._evictions.select(name, *devices) is not None
            try:
                await load(placed, makes_room=makes_room)
            except OutOfMemoryError as error:
                self.on_out_of_memory(name)
                if left := await self._evictions.free_devices(name, devices):
                    logger.warning("%s: %s made room, and the load is repeated once", error.message, ", ".join(left))
                elif (
                    makes_room and placed.memory == "auto" and not placed.parallel
                ):  # What was to make room is in use by now.
                    logger.warning("%s: no model makes room, and the load is repeated once", error.message)
                else:
                    raise
                await load(placed, makes_room=False)
        except BaseException:
            if self.models.needs.pop(name, None):  # Others may have the bytes, while it waits for another device.
                self.notify_freed(name)
            raise

    def _end_wait(self, name: str) -> None:
        """End the wait of a load, which others may have waited for."""
        if self._turns.end(name):
            self.notify_freed(name)
