"""Which replicas are in memory on the cluster, and which one makes room for another."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import AsyncIterator, Collection, Iterable
from contextlib import asynccontextmanager
from typing import Any, Protocol

from octabox.config.model import ModelConfig
from octabox.engine.cluster.placement import Placement
from octabox.engine.local.residency import LoadModel, Residency
from octabox.engine.local.resident.room import ResidentModel
from octabox.engine.ray.node_options import index_warnings
from octabox.engine.ray.resources import device_type
from octabox.errors import CapacityError, DeviceError, OutOfMemoryError

logger = logging.getLogger("octabox.engine")


class ClusterDevices:
    """The devices of a cluster: `Reservations` chooses the node, and Ray the accelerator, so that only the type is known."""

    @asynccontextmanager
    async def assigned(
        self,
        model: ModelConfig,
        requested: str | None,
        residents: Collection[ResidentModel],
        excluded: Collection[str] = (),
    ) -> AsyncIterator[str | None]:
        """Return the type of the requested device; None leaves the choice to the worker."""
        del model, residents, excluded
        yield device_type(requested)

    @asynccontextmanager
    async def companions(
        self,
        model: ModelConfig,
        device: str | None,
        requested: str | None,
        residents: Collection[ResidentModel],
        excluded: Collection[str] = (),
    ) -> AsyncIterator[tuple[str, ...]]:
        """Return none, since the worker takes those that were reserved for it."""
        del model, device, requested, residents, excluded
        yield ()

    @property
    def several(self) -> bool:
        """Return False, since `Reservations` knows whether there is room for another replica."""
        return False

    async def alternatives(self, requested: str | None, excluded: Collection[str]) -> list[str]:
        """Return none, since `ClusterResidency` replaces a place: devices of other nodes have the same names."""
        del requested, excluded
        return []

    async def find_place(
        self, requested: str | None, size: int, residents: Collection[ResidentModel], excluded: Collection[str]
    ) -> Placement | None:
        """Return None, since `Reservations` finds places for replicas."""
        del requested, size, residents, excluded
        return None

    async def free(self, device: str) -> int | None:
        """Return None, since a device of another machine is not queried."""
        del device
        return None


class LoadPlaces(Protocol):
    """The places of replicas, as far as it matters whether a load is repeated in another one."""

    async def can_be_elsewhere(self, name: str, model: ModelConfig, error: CapacityError | DeviceError) -> bool:
        """Note that a replica could not be loaded in its place, and return whether another node may hold it."""

    def end_load(self, name: str) -> None:
        """Forget where a replica could not be loaded, since its load has ended."""


class ClusterResidency(Residency):
    """The replicas in memory on the cluster."""

    #: The places of the replicas; None before they are known.
    places: LoadPlaces | None = None

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._changed: set[str] = set()
        #: The replicas that give their places to each other one.
        self._giving: defaultdict[str, set[str]] = defaultdict(set)

    async def load(
        self,
        name: str,
        model: ModelConfig,
        load: LoadModel,
        pipeline: str = "",
        occupied: Collection[str] = (),
    ) -> tuple[str, ...]:
        """Load a model as on one machine, and where its device fails or lacks memory, in another place.

        Configured indices of its devices are warnings, and so are the places where it could not be loaded.
        """
        failed: list[str] = []

        async def load_somewhere(model: ModelConfig, *, makes_room: bool) -> None:
            while True:
                try:
                    return await load(model, makes_room=makes_room)
                except (CapacityError, DeviceError) as error:
                    if not (self.places and await self.places.can_be_elsewhere(name, model, error)):
                        raise
                    if isinstance(error, OutOfMemoryError):
                        self.on_out_of_memory(name)
                    failed.append(f"Model '{name}' is loaded on another node: {error.message}")
                    logger.warning("%s", failed[-1])

        try:
            warnings = await super().load(name, model, load_somewhere, pipeline, occupied)
        finally:
            self._giving.pop(name, None)
            if self.places:
                self.places.end_load(name)
        devices = model.device_names or (model.device,)
        return (*(each for device in devices for each in index_warnings(model.name, device)), *failed, *warnings)

    def notify_freed(self, *names: str) -> None:
        """Wake the loads that wait for room, and note which replicas have changed; all where none is named."""
        self._changed.update(names or self.models.by_name)
        super().notify_freed(*names)

    def notify_taken(self, model: ResidentModel) -> None:
        """Note that a replica may have come into use, and wake the loads that it has to give its place to."""
        self._changed.add(model.name)
        super().notify_taken(model)

    def find(self, name: str) -> ResidentModel | None:
        """Return a replica; None if it is unknown."""
        return self.models.by_name.get(name)

    def take_changed(self) -> Collection[str]:
        """Return the names of the replicas that have come into use, become idle or were pinned since the last call."""
        changed, self._changed = self._changed, set()
        return changed

    def yielded(self, name: str) -> list[str]:
        """Return the names of the replicas whose calls are done, and which give their places to another one."""
        giving = (self.models.by_name[each] for each in sorted(self._giving.get(name, ())))
        return [each.name for each in giving if each.yields_to == name and each.has_yielded]

    def yielding(self, name: str) -> list[str]:
        """Return the names of the replicas in use that have to give their places to another one."""
        # One that was lost with its node has no place to give, whatever it was to do.
        return self._turns.yielding(name, [each for each in self.models.others(name) if each.resident])

    def let_yield(self, name: str, yielding: Iterable[str]) -> None:
        """Let replicas give their places to another one once their calls are done."""
        giving = list(yielding)
        self._give(name, giving)
        self._turns.let_yield(name, giving)

    def end_wait(self, name: str) -> None:
        """End the wait of a replica for a place."""
        self._changed |= self._giving.pop(name, set())
        self._end_wait(name)

    async def evict(self, names: Collection[str], other: str) -> None:
        """Unload replicas for another one, until whose `end_wait` they take no requests.

        There must be no await between the decision and this, so that no request comes between.
        """
        self._give(other, names)
        replicas = [self.models.by_name[each] for each in names]
        # Those that leave last, too: else one of them may come into use, and the others have left for nothing.
        for each in replicas:
            each.yield_to(other)
        await asyncio.gather(*(self._evictions.unload(each, "memory") for each in replicas))

    def _give(self, name: str, giving: Collection[str]) -> None:
        """Note which replicas give their places to another one."""
        self._giving[name].update(giving)
        self._changed.update(giving)
