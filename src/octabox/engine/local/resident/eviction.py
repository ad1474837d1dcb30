"""How room is made for a model: which other one leaves, and whether it is put to sleep on the host or unloaded."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial

from octabox.config.memory.limits import HOST
from octabox.config.model import ModelConfig
from octabox.engine.local.resident.budget import Shortage
from octabox.engine.local.resident.capacity_errors import all_pinned, describe, no_memory, no_room, too_large
from octabox.engine.local.resident.resident_models import ResidentModels
from octabox.engine.local.resident.room import InUseError, MemoryRoom, ResidentModel, select_evicted, wait_for_room
from octabox.engine.local.resident.turns import PlaceTurns

logger = logging.getLogger("octabox.engine")


class Evictions:
    """Makes room for models: takes others out of memory, or lets them leave their device.

    Args:
        models: All models.
        room: Knows what a model needs, and how much room there is.
        turns: Knows which models in use give their places.
        max_resident: How many models may be in memory together; 0 is no limit.
        freed: Returns what is set where a model becomes idle or leaves memory the next time.
        on_evict: Called with the name of each model that leaves memory or its device, and why.
        keeps_weights: Whether weights may stay on the host.
    """

    def __init__(
        self,
        models: ResidentModels,
        room: MemoryRoom,
        turns: PlaceTurns,
        max_resident: int,
        freed: Callable[[], asyncio.Event],
        on_evict: Callable[[str, str], None],
        *,
        keeps_weights: bool,
    ) -> None:
        self._models, self._room, self._turns = models, room, turns
        self._max_resident, self._freed = max_resident, freed
        self._on_evict, self._keeps_weights = on_evict, keeps_weights

    @property
    def full(self) -> bool:
        """Whether no further model may be in memory."""
        return bool(self._max_resident) and len(self._models.occupants()) >= self._max_resident

    async def make_room(self, name: str, end: float | None) -> None:
        """Unload models until one more may be loaded; wait while all are in use.

        Raises:
            CapacityError: None has made room in time, or all are pinned.
        """
        while self._max_resident:
            resident = self._models.occupants(name)
            if len(resident) < self._max_resident:
                break
            if evicted := select_evicted(resident, name=name):
                await self.unload(evicted, "count")
            elif all(each.pinned for each in resident):
                raise all_pinned(name, f"{len(resident)} models")
            else:
                retry_at = self._turns.request_place(name, resident)
                error = no_room(name, self._max_resident)
                await wait_for_room(self._freed(), end, error, math.inf if retry_at is None else retry_at)

    async def make_memory(self, name: str, model: ModelConfig, pipeline: str) -> None:
        """Unload models until the memory suffices for one more.

        Where only what is free is exceeded, or the model can be offloaded, it is loaded without enough memory once no idle
        model is left: its worker selects a memory mode, or reports that memory ran out. What models that are being loaded will
        take is not free; where a place with one lacks memory, it is waited for, and what is left then is measured.

        Raises:
            OutOfMemoryError: The model alone exceeds a limit.
            CapacityError: All are pinned.
            InUseError: Models in use hold the memory, or others that are being loaded will.
        """
        self._models.needs.pop(name, None)  # That of a device where it was not loaded.
        need = await self._room.need(model, pipeline)
        if model.device is not None and model.device == self._models.sleeps_on(name):
            need = need.on_device()
        while need.bytes:
            others = [each for each in self._models.others(name) if each.resident or each.name in self._models.needs]
            held, loading = partial(self._models.held, name), partial(self._models.loading, name)
            shortages = await self._room.shortages(need, others, held, loading)
            evicted = select_for(others, [each for each in shortages if not each.loading], name)
            required = next((each for each in shortages if each.limited and each.place not in need.flexible), None)
            if evicted is not None:
                logger.info("%s: %s makes room", describe(name, shortages[0]), evicted.name)
                if any(each.place == HOST for each in shortages):
                    await self.unload(evicted, "memory")
                else:
                    await self.free_device(evicted, [*self._models.held(name), need.bytes])
            elif required is None:
                awaited = (
                    each for each in shortages if not each.limited and (each.loading or loading().get(each.place))
                )
                if short := next(awaited, None):
                    raise InUseError(no_memory(name, replace(short, loading=True)), short.place)
                break
            elif required.needed > required.limit:
                raise too_large(name, required)
            elif all(each.pinned for each in others if self._models.uses(each, required.place)):
                raise all_pinned(name, "models that hold its memory")
            else:
                request_place = partial(self._turns.request_place, name, others, required.place, required.missing)
                raise InUseError(no_memory(name, required), required.place, request_place)
        self._models.needs[name] = need

    def select(self, name: str, *devices: str | None) -> ResidentModel | None:
        """Return the idle model that leaves devices for another one, of those asleep the last; None if there is none."""
        there = self._models.on_devices(name, *devices)
        return select_evicted(each for each in there if not each.asleep) or select_evicted(there)

    async def free_devices(self, name: str, devices: Iterable[str | None]) -> list[str]:
        """Let an idle model leave each of the devices of another one, and return the names of those that did."""
        left: list[str] = []
        for device in dict.fromkeys(devices):
            evicted = self.select(name, device)
            if evicted and evicted.name not in left:  # One that is split over several has left all of them.
                await self.free_device(evicted, self._models.held())
                left.append(evicted.name)
        return left

    async def unload(self, model: ResidentModel, reason: str) -> None:
        """Unload a model for another one."""
        await model.unload()
        self._on_evict(model.name, reason)

    async def free_device(self, model: ResidentModel, held: Iterable[Mapping[str, int]]) -> None:
        """Let a model leave its device: its weights are kept on the host, if that has room for them.

        Args:
            model: The model.
            held: What each model holds, or will hold.
        """
        # There must be no await before `sleep`, so that no request comes between.
        size = sum(each for place, each in model.memory.items() if place != HOST)
        may_sleep = self._keeps_weights and not model.asleep and size > 0
        if may_sleep and self._room.host_takes(size, held) and await model.sleep():
            logger.info("The weights of %s are kept on the host", model.name)
            self._on_evict(model.name, "memory")
        else:
            await self.unload(model, "memory")


def select_for(models: Sequence[ResidentModel], shortages: Sequence[Shortage], name: str = "") -> ResidentModel | None:
    """Return the model whose leaving makes room, which is idle or has given its place; None if there is none.

    Those whose weights are on the host are the first ones to leave where the host lacks memory, and the last ones where a
    device does, of which their processes hold a little.

    Args:
        models: The models in memory.
        shortages: The places without enough memory.
        name: Name of the model that needs room.
    """
    places = {each.place for each in shortages}
    free_places = {each.place for each in shortages if not each.limited}
    awake = [each for each in models if not each.asleep and any(each.memory.get(place) for place in places)]
    asleep = [each for each in models if each.asleep and (HOST in places or each.device in free_places)]
    first, second = (asleep, awake) if HOST in places else (awake, asleep)
    short = next(iter(shortages), None)
    place, needed = (None, 1) if short is None else (short.place, short.missing)
    return select_evicted(first, place, needed, name) or select_evicted(second, place, needed, name)
