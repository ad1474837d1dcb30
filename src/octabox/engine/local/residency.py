"""Which models are in memory, and which one makes room for another."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection
from dataclasses import replace
from functools import partial

from octabox.config.memory.limits import HOST
from octabox.config.model import ModelConfig
from octabox.engine.local.resident.budget import MemoryBudget
from octabox.engine.local.resident.capacity_errors import check_possible, describe, no_memory
from octabox.engine.local.resident.device_loads import Attempt, DeviceLoads
from octabox.engine.local.resident.eviction import Evictions, select_for
from octabox.engine.local.resident.resident_models import LoadModel, ResidentModels
from octabox.engine.local.resident.room import Devices, InUseError, MemoryRoom
from octabox.errors import OutOfMemoryError

logger = logging.getLogger("octabox.engine")


class Residency(ResidentModels):
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
        self._room = MemoryRoom(devices, budget, dtype)
        evictions = Evictions(self._room, on_evict, keeps_weights=keeps_weights)
        super().__init__(lambda name: on_evict(name, "keep_alive"), max_resident, evictions)
        self._timeout, self.on_out_of_memory = timeout, on_out_of_memory
        #: Loads models on devices.
        self.placement = DeviceLoads(
            devices,
            device,
            lambda: self._full,
            lambda: [each for each in self._models.values() if each.resident],
            lambda: self._freed,
        )

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
        sleeps_on, patience = self._sleeps_on(name), self._models[name].load_seconds
        try:
            await self._make_room(name, end)
            self._admitted.add(name)
            return await self.placement.load(Attempt(name, model, load_placed, occupied, end, sleeps_on, patience))
        finally:
            self._admitted.discard(name)
            self._needs.pop(name, None)
            self._turns.end(name)
            self.notify_freed()

    async def _load_placed(self, name: str, load: LoadModel, pipeline: str, placed: ModelConfig) -> None:
        """Load a model on its devices; where memory runs out, once again after an idle model on each was unloaded."""
        try:
            await self._make_memory(name, placed, pipeline)
            devices = placed.device_names or (placed.device,)
            makes_room = self._select_evicted(name, *devices) is not None
            try:
                await load(placed, makes_room=makes_room)
            except OutOfMemoryError as error:
                self.on_out_of_memory(name)
                if left := await self._free_devices(name, devices):
                    logger.warning("%s: %s made room, and the load is repeated once", error.message, ", ".join(left))
                elif (
                    makes_room and placed.memory == "auto" and not placed.parallel
                ):  # What was to make room is in use by now.
                    logger.warning("%s: no model makes room, and the load is repeated once", error.message)
                else:
                    raise
                await load(placed, makes_room=False)
        except BaseException:
            if self._needs.pop(name, None):  # Others may have the bytes, while it waits for another device.
                self.notify_freed()
            raise

    async def _make_memory(self, name: str, model: ModelConfig, pipeline: str) -> None:
        """Unload models until the memory suffices for one more.

        Where only what is free is exceeded, or the model can be offloaded, it is loaded without enough memory once no idle
        model is left: its worker selects a memory mode, or reports that memory ran out. What models that are being loaded will
        take is not free; where a place with one lacks memory, it is waited for, and what is left then is measured.

        Raises:
            OutOfMemoryError: The model alone exceeds a limit.
            CapacityError: All are pinned.
            InUseError: Models in use hold the memory, or others that are being loaded will.
        """
        self._needs.pop(name, None)  # That of a device where it was not loaded.
        need = await self._room.need(model, pipeline)
        if model.device is not None and model.device == self._sleeps_on(name):
            need = need.on_device()
        while need.bytes:
            others = [each for each in self._others(name) if each.resident or each.name in self._needs]
            held, loading = partial(self._held, name), partial(self._loading, name)
            shortages = await self._room.shortages(need, others, held, loading)
            required = [each for each in shortages if each.limited and each.place not in need.flexible]
            held_by = zip(self._others(name), self._held(name), strict=True)
            check_possible(name, required, [each for model, each in held_by if model.pinned])
            evicted = select_for(others, [each for each in shortages if not each.loading], name)
            if evicted is not None:
                logger.info("%s: %s makes room", describe(name, shortages[0]), evicted.name)
                if any(each.place == HOST for each in shortages):
                    await self._evictions.unload(evicted, "memory")
                else:
                    await self._evictions.free_device(evicted, [*self._held(name), need.bytes])
            elif not required:
                awaited = (
                    each for each in shortages if not each.limited and (each.loading or loading().get(each.place))
                )
                if short := next(awaited, None):
                    raise InUseError(no_memory(name, replace(short, loading=True)), short.place)
                break
            else:
                place, missing = required[0].place, required[0].missing
                request_place = partial(self._turns.request_place, name, others, place, missing)
                raise InUseError(no_memory(name, required[0]), place, request_place)
        self._needs[name] = need
        self._end_wait(name)
