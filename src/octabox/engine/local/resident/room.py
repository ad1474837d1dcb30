"""Which model makes room for another one, and the errors where there is no room."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Protocol

from octabox.config.memory.limits import HOST
from octabox.config.model import ModelConfig
from octabox.engine.cluster.eviction import plan_eviction
from octabox.engine.cluster.placement import Placement
from octabox.engine.cluster.state import Replica
from octabox.engine.local.processes.starting import in_daemon_thread
from octabox.engine.local.resident.budget import MemoryBudget, MemoryNeed, Shortage, memory_need
from octabox.engine.memory.units import format_bytes
from octabox.errors import CapacityError, OutOfMemoryError

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

    async def sleep(self) -> bool:
        """Move its weights to the host once it is idle; return whether they are there now."""

    async def unload(self) -> bool:
        """Unload it once it is idle; return whether it was in memory."""


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
        held: Iterable[Mapping[str, int]],
    ) -> list[Shortage]:
        """Return the places without enough memory for a model.

        Args:
            need: What it needs.
            others: The other models in memory.
            held: What each of them holds, or will hold.
        """
        if self._budget is None:
            return []
        free: dict[str, int] = {}
        for device in need.bytes:
            # Reading the free memory takes a process, which is of no use if no model can be unloaded for it.
            evictable = select_evicted(each for each in others if each.memory.get(device))
            if device != HOST and evictable is not None and self._budget.limit(device) is None:
                found = await self._devices.free(device)
                free |= {} if found is None else {device: found}
        return self._budget.shortages(need, held, free)

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
    """

    def __init__(self, error: CapacityError, place: str) -> None:
        super().__init__(error.message)
        self.error, self.place = error, place


async def wait_for_room(freed: asyncio.Event, end: float | None, error: CapacityError) -> None:
    """Wait until a model becomes idle or leaves memory.

    Args:
        freed: Set where that happens.
        end: When the wait ends, by `time.monotonic`; None is never.
        error: Raised at the end.
    """
    try:
        await asyncio.wait_for(freed.wait(), None if end is None else end - time.monotonic())
    except asyncio.TimeoutError:
        raise error from None


def no_room(model: str, limit: int) -> CapacityError:
    """Return the error of a load for which no model has become idle in time."""
    message = f"There was no room for model '{model}': the {limit} models in memory did not become idle in time."
    return CapacityError(message, hint="Try again later, or raise `max_resident`.", model=model)


def all_pinned(model: str, those: str) -> CapacityError:
    """Return the error of a load that only pinned models could make room for."""
    message = f"There is no room for model '{model}': the {those} are pinned."
    return CapacityError(message, hint="Unload one of them, or set `pin: false` in its configuration.", model=model)


def describe(model: str, shortage: Shortage) -> str:
    """Return what a model lacks, as a sentence without its end."""
    needed, available = format_bytes(shortage.needed), format_bytes(shortage.available)
    rest = "`max_memory` leaves it" if shortage.limited else "there are"
    return f"Model '{model}' needs {needed} on {shortage.place}, and {rest} {available}"


def no_memory(model: str, shortage: Shortage) -> OutOfMemoryError:
    """Return the error of a load for which no memory was freed in time."""
    message = f"{describe(model, shortage)}: the models there did not become idle in time."
    hint = "Try again later, or raise `max_memory`."
    return OutOfMemoryError(message, hint=hint, model=model, requested=shortage.needed, free=shortage.available)


def too_large(model: str, shortage: Shortage) -> OutOfMemoryError:
    """Return the error of a model that alone exceeds a limit."""
    return OutOfMemoryError(
        f"Model '{model}' needs {format_bytes(shortage.needed)} on {shortage.place}, and `max_memory` allows "
        f"{format_bytes(shortage.limit)}.",
        hint="Raise `max_memory`, or set `memory: auto`, a half-precision `dtype`, `storage: float8_e4m3fn` or a "
        "`quantization` for its largest component.",
        model=model,
        requested=shortage.needed,
        free=shortage.limit,
    )


def select_evicted(models: Iterable[ResidentModel], place: str | None = None, needed: int = 1) -> ResidentModel | None:
    """Return the idle model that is unloaded for another one; None if all are in use or pinned.

    Where several must be, it is the first of them: what its end has freed is measured before the next one is unloaded.

    Args:
        models: The models.
        place: Where bytes are needed; None is where any model makes room for another one.
        needed: How many bytes.
    """
    by_name = {each.name: each for each in models}
    replicas = [as_replica(each, place) for each in by_name.values()]

    def value(replica: Replica) -> float:
        return by_name[replica.name].keep_value

    # Where all of them together are not enough, the load is tried with what they free.
    plan = plan_eviction(replicas, max(needed, 1), value) or plan_eviction(replicas, 1, value)
    return by_name[plan[0].name] if plan else None


def as_replica(model: ResidentModel, place: str | None) -> Replica:
    """Return a model in the form that decisions are made about.

    Args:
        model: The model.
        place: Where bytes are needed; None counts each model as one.
    """
    size = 1 if place is None else max(model.memory.get(place, 0), 1)
    waiting = 0 if model.idle else 1
    return Replica(model.name, model.name, place or "", size, model.last_used, waiting, pinned=model.pinned)
