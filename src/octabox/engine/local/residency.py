"""Which models are in memory, and which one makes room for another."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Collection
from functools import partial

from octabox.config.memory.limits import HOST
from octabox.config.model import ModelConfig
from octabox.engine.local.resident.budget import MemoryBudget
from octabox.engine.local.resident.device_loads import Attempt, DeviceLoads
from octabox.engine.local.resident.eviction import Evictions, select_for
from octabox.engine.local.resident.resident_models import ResidentModels
from octabox.engine.local.resident.room import (
    Devices,
    InUseError,
    MemoryRoom,
    all_pinned,
    describe,
    no_memory,
    no_room,
    select_evicted,
    too_large,
    wait_for_room,
)
from octabox.errors import OutOfMemoryError

logger = logging.getLogger("octabox.engine")


class Residency(ResidentModels):
    """The models in memory. Where there is no room for another one, an idle model is unloaded.

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
    ) -> None:
        super().__init__(lambda name: on_evict(name, "keep_alive"))
        self._max_resident, self._timeout = max_resident, timeout
        #: Loads models on devices.
        self.placement = DeviceLoads(
            devices,
            device,
            lambda: bool(max_resident) and len(self._occupants()) >= max_resident,
            lambda: [each for each in self._models.values() if each.resident],
            lambda: self._freed,
        )
        self.on_out_of_memory = on_out_of_memory
        self._room = MemoryRoom(devices, budget, dtype)
        self._evictions = Evictions(self._room, on_evict, keeps_weights=keeps_weights)

    async def load(
        self,
        name: str,
        model: ModelConfig,
        load: Callable[[ModelConfig], Awaitable[None]],
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
        await self._make_room(name, end)
        self._admitted.add(name)
        load_placed = partial(self._load_placed, name, load, pipeline)
        sleeps_on, patience = self._sleeps_on(name), self._models[name].load_seconds
        try:
            return await self.placement.load(Attempt(name, model, load_placed, occupied, end, sleeps_on, patience))
        finally:
            self._admitted.discard(name)
            self._needs.pop(name, None)
            self.notify_freed()

    async def _load_placed(
        self, name: str, load: Callable[[ModelConfig], Awaitable[None]], pipeline: str, placed: ModelConfig
    ) -> None:
        """Load a model on its device; where memory runs out, once again after an idle model there was unloaded."""
        await self._make_memory(name, placed, pipeline)
        try:
            await load(placed)
        except OutOfMemoryError as error:
            self.on_out_of_memory(name)
            there = self._on_same_device(name, *(placed.device_names or (placed.device,)))
            evicted = select_evicted(each for each in there if not each.asleep) or select_evicted(there)
            if evicted is None:
                raise
            logger.warning("%s: %s makes room, and the load is repeated once", error.message, evicted.name)
            await self._evictions.free_device(evicted, self._held())
            await load(placed)

    async def _make_room(self, name: str, end: float | None) -> None:
        """Unload models until one more may be loaded; wait while all are busy.

        Raises:
            CapacityError: None became idle in time, or all are pinned.
        """
        while self._max_resident:
            resident = self._occupants(name)
            if len(resident) < self._max_resident:
                return
            if evicted := select_evicted(resident):
                await self._evictions.unload(evicted, "count")
            elif all(each.pinned for each in resident):
                raise all_pinned(name, f"{len(resident)} models")
            else:
                await wait_for_room(self._freed, end, no_room(name, self._max_resident))

    async def _make_memory(self, name: str, model: ModelConfig, pipeline: str) -> None:
        """Unload models until the memory suffices for one more.

        Where only what is free is exceeded, or the model can be offloaded, it is loaded without enough memory once no idle
        model is left: its worker selects a memory mode, or reports that memory ran out.

        Raises:
            OutOfMemoryError: The model alone exceeds a limit.
            CapacityError: All are pinned.
            InUseError: Models in use hold the memory.
        """
        need = await self._room.need(model, pipeline)
        if model.device is not None and model.device == self._sleeps_on(name):
            need = need.on_device()
        while need.bytes:
            others = [each for each in self._others(name) if each.resident or each.name in self._needs]
            shortages = await self._room.shortages(need, others, self._held(name))
            evicted = select_for(others, shortages)
            required = next((each for each in shortages if each.limited and each.place not in need.flexible), None)
            if evicted is not None:
                logger.info("%s: %s makes room", describe(name, shortages[0]), evicted.name)
                if any(each.place == HOST for each in shortages):
                    await self._evictions.unload(evicted, "memory")
                else:
                    await self._evictions.free_device(evicted, [*self._held(name), need.bytes])
            elif required is None:
                break
            elif required.needed > required.limit:
                raise too_large(name, required)
            elif all(each.pinned for each in others if self._uses(each, required.place)):
                raise all_pinned(name, "models that hold its memory")
            else:
                raise InUseError(no_memory(name, required), required.place)
        self._needs[name] = need
