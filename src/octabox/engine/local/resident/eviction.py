"""Which model makes room for another one, and whether it is put to sleep on the host or unloaded."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence

from octabox.config.memory.limits import HOST
from octabox.engine.local.resident.budget import Shortage
from octabox.engine.local.resident.room import MemoryRoom, ResidentModel, select_evicted

logger = logging.getLogger("octabox.engine")


class Evictions:
    """Takes models out of memory for others.

    Args:
        room: Knows how much room the host has.
        on_evict: Called with the name of each model that leaves memory or its device, and why.
        keeps_weights: Whether weights may stay on the host.
    """

    def __init__(self, room: MemoryRoom, on_evict: Callable[[str, str], None], *, keeps_weights: bool) -> None:
        self._room, self._on_evict, self._keeps_weights = room, on_evict, keeps_weights

    async def unload(self, model: ResidentModel, reason: str) -> None:
        """Unload a model for another one."""
        try:
            await model.unload()
        finally:  # It leaves memory also where the load that it makes room for has been cancelled.
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
    there = [each for each in models if any(each.memory.get(place) for place in places)]
    awake = [each for each in there if not each.asleep]
    # Not all that a process holds of a device is reported.
    asleep = [
        each for each in models if each.asleep and (each in there or HOST in places or each.device in free_places)
    ]
    first, second = (asleep, awake) if HOST in places else (awake, asleep)
    short = next(iter(shortages), None)
    place, needed = (None, 1) if short is None else (short.place, short.missing)
    return select_evicted(first, place, needed, name) or select_evicted(second, place, needed, name)
