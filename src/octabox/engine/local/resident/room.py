"""Which model makes room for another one, and what a load waits for."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Protocol

from octabox.config.memory.limits import HOST
from octabox.config.model import ModelConfig
from octabox.engine.cluster.eviction import plan_eviction
from octabox.engine.cluster.placement import Placement
from octabox.engine.cluster.state import Replica
from octabox.engine.cluster.turns import Claim, Turn
from octabox.engine.local.processes.starting import in_daemon_thread
from octabox.engine.local.resident.budget import MemoryBudget, MemoryNeed, Shortage, memory_need
from octabox.errors import CapacityError

#: Seconds for reading the headers of a model's files.
HEADERS_TIMEOUT = 30.0


class ResidentModel(Protocol):
    """A model that may be in memory."""

    name: str
    #: When it last served a request, in seconds since the epoch.
    last_used: float

    @property
    def resident(self) -> bool:
        """Whether it is in memory, or being loaded."""

    @property
    def idle(self) -> bool:
        """Whether it is in memory, and no request waits for it or runs on it."""

    @property
    def device(self) -> str | None:
        """The device that it is on, or is being loaded on; None while that is not known."""

    @property
    def memory(self) -> Mapping[str, int]:
        """The bytes that it holds by place; empty while it is being loaded."""

    @property
    def host_bytes(self) -> int:
        """The bytes of the host that its process holds now, while it is being loaded as well; 0 if they are not known."""

    @property
    def keep_value(self) -> float:
        """Seconds that unloading it is expected to cost."""

    @property
    def load_seconds(self) -> float:
        """What loading it took; 0 while it is not loaded."""

    @property
    def busy_seconds(self) -> float:
        """Seconds for which it is expected to be in use; 0 while it is idle."""

    @property
    def pinned(self) -> bool:
        """Whether it is never unloaded for another model."""

    @property
    def expires(self) -> float | None:
        """When it is unloaded if no request arrives, in seconds since the epoch; None if that will not happen."""

    @property
    def asleep(self) -> bool:
        """Whether its weights are on the host until they are needed."""

    @property
    def claim(self) -> Claim | None:
        """What its load is for; None where no request waits for that."""

    @property
    def turn(self) -> Turn | None:
        """Its turn in memory; None while it is not loaded."""

    @property
    def yields_to(self) -> str:
        """The model that it gives its place to once its calls are done; empty if there is none."""

    @property
    def has_yielded(self) -> bool:
        """Whether its calls are done, and what waits for it does so until another model has had its place."""

    def yield_to(self, name: str) -> None:
        """Take no further requests, so that another model gets its place once its calls are done."""

    def resume(self, name: str) -> None:
        """Take requests again, if it was to give its place to this model."""

    async def sleep(self) -> bool:
        """Move its weights to the host once its calls are done; return whether they are there now."""

    async def unload(self) -> bool:
        """Unload it once its calls are done; return whether it was in memory."""


class Devices(Protocol):
    """Chooses the device of each model that is loaded."""

    def assigned(
        self,
        model: ModelConfig,
        requested: str | None,
        residents: Collection[ResidentModel],
        excluded: Collection[str] = (),
    ) -> AbstractAsyncContextManager[str | None]:
        """Choose a device for a model, and count the model in that device's memory within the context."""

    def companions(
        self,
        model: ModelConfig,
        device: str | None,
        requested: str | None,
        residents: Collection[ResidentModel],
        excluded: Collection[str] = (),
    ) -> AbstractAsyncContextManager[tuple[str, ...]]:
        """Choose the other devices of a model that is split over several, and count it there within the context."""

    @property
    def several(self) -> bool:
        """Whether there are several accelerators, as far as is known."""

    async def alternatives(self, requested: str | None, excluded: Collection[str]) -> list[str]:
        """Return the devices that a requested one may be, without these."""

    async def find_place(
        self, requested: str | None, size: int, residents: Collection[ResidentModel], excluded: Collection[str]
    ) -> Placement | None:
        """Return the device where so many bytes cost least; None if none can have them free."""

    async def free(self, device: str) -> int | None:
        """Return the free bytes of a device; None if they are not known."""


class MemoryRoom:
    """What a model needs of memory, and what it lacks.

    Args:
        devices: Reads the free memory of devices.
        budget: How many bytes models may use; None does not count them.
        dtype: Dtype of models that configure none.
    """

    def __init__(self, devices: Devices, budget: MemoryBudget | None, dtype: str) -> None:
        self._devices, self._budget, self._dtype = devices, budget, dtype

    async def need(self, model: ModelConfig, pipeline: str) -> MemoryNeed:
        """Return what a model needs; nothing where bytes are not counted, or the file system does not answer in time."""
        if self._budget is None:
            return MemoryNeed()
        read = partial(memory_need, model, pipeline, model.device, self._dtype)
        try:
            return await asyncio.wait_for(in_daemon_thread(read), HEADERS_TIMEOUT)
        except (asyncio.TimeoutError, OSError):
            return MemoryNeed()

    async def shortages(
        self,
        need: MemoryNeed,
        others: Sequence[ResidentModel],
        held: Callable[[], Iterable[Mapping[str, int]]],
        loading: Callable[[], Mapping[str, int]],
    ) -> list[Shortage]:
        """Return the places without enough memory for a model.

        Args:
            need: What it needs.
            others: The other models in memory.
            held: Returns what each of them holds, or will hold.
            loading: Returns the bytes that those which are being loaded have not taken yet.
        """
        if self._budget is None:
            return []
        free: dict[str, int] = {}
        for device in need.bytes:
            evictable = select_evicted(each for each in others if each.memory.get(device))
            # Reading the free memory takes a process, which is of no use if nothing can be unloaded or waited for.
            changes = evictable is not None or bool(loading().get(device))
            if device != HOST and changes and self._budget.limit(device) is None:
                found = await self._devices.free(device)
                free |= {} if found is None else {device: found}
        return self._budget.shortages(need, held(), free, loading())

    def host_takes(self, size: int, held: Iterable[Mapping[str, int]]) -> bool:
        """Return whether the host has room for weights that leave a device.

        Args:
            size: Their bytes.
            held: What each model holds, or will hold.
        """
        return self._budget is not None and self._budget.host_takes(size, held)


class InUseError(Exception):
    """The memory that a model needs is held by models in use, of which one may become idle.

    Args:
        error: What is raised if none does in time.
        place: The place that lacks memory.
        request_place: Lets models in use give their places there; returns when to try again, by `time.monotonic`, or None
            if they do.
    """

    def __init__(
        self, error: CapacityError, place: str, request_place: Callable[[], float | None] = lambda: math.inf
    ) -> None:
        super().__init__(error.message)
        self.error, self.place, self.request_place = error, place, request_place


async def wait_for_room(
    freed: asyncio.Event, end: float | None, error: CapacityError, retry_at: float = math.inf
) -> None:
    """Wait until a model becomes idle, leaves memory or has to give its place.

    Args:
        freed: Set where that happens.
        end: When the wait ends, by `time.monotonic`; None is never.
        error: Raised at the end.
        retry_at: When the wait ends without an error.
    """
    until = min(math.inf if end is None else end, retry_at)
    try:
        await asyncio.wait_for(freed.wait(), None if math.isinf(until) else until - time.monotonic())
    except asyncio.TimeoutError:
        if end is not None and time.monotonic() >= end:
            raise error from None


def may_leave(model: ResidentModel, name: str) -> bool:
    """Return whether a model in memory is not in use, or has given its place to another one.

    Args:
        model: The model.
        name: Name of the other one; empty for any.
    """
    return model.idle or (bool(name) and model.yields_to == name and model.has_yielded)


def select_evicted(
    models: Iterable[ResidentModel], place: str | None = None, needed: int = 1, name: str = ""
) -> ResidentModel | None:
    """Return the model that is unloaded for another one; None if all are in use or pinned.

    Where several must be, it is the first of them: what its end has freed is measured before the next one is unloaded.

    Args:
        models: The models.
        place: Where bytes are needed; None is where any model makes room for another one.
        needed: How many bytes.
        name: Name of the other one, which models in use may have given their places to.
    """
    by_name = {each.name: each for each in models}
    replicas = [as_replica(each, place, name) for each in by_name.values()]

    def value(replica: Replica) -> float:
        return by_name[replica.name].keep_value

    # Where all of them together are not enough, the load is tried with what they free.
    plan = plan_eviction(replicas, max(needed, 1), value) or plan_eviction(replicas, 1, value)
    return by_name[plan[0].name] if plan else None


def as_replica(model: ResidentModel, place: str | None, name: str = "") -> Replica:
    """Return a model in the form that decisions are made about.

    Args:
        model: The model.
        place: Where bytes are needed; None counts each model as one.
        name: Name of the model that they are about.
    """
    size = 1 if place is None else max(model.memory.get(place, 0), 1)
    waiting = 0 if may_leave(model, name) else 1
    return Replica(model.name, model.name, place or "", size, model.last_used, waiting, pinned=model.pinned)
