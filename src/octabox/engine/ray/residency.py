"""Which replicas are in memory on the cluster, and which one makes room for another."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Iterable
from contextlib import asynccontextmanager

from octabox.config.model import ModelConfig
from octabox.engine.cluster.placement import Placement
from octabox.engine.local.residency import LoadModel, Residency
from octabox.engine.local.resident.room import ResidentModel
from octabox.engine.ray.node_options import index_warnings
from octabox.engine.ray.resources import device_type


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
        """Return none, since the device is chosen with the place."""
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


class ClusterResidency(Residency):
    """The replicas in memory on the cluster."""

    async def load(
        self,
        name: str,
        model: ModelConfig,
        load: LoadModel,
        pipeline: str = "",
        occupied: Collection[str] = (),
    ) -> tuple[str, ...]:
        """Load a model as on one machine; configured indices of its devices are warnings."""
        warnings = await super().load(name, model, load, pipeline, occupied)
        devices = model.device_names or (model.device,)
        return (*(each for device in devices for each in index_warnings(model.name, device)), *warnings)

    def resident(self) -> dict[str, ResidentModel]:
        """Return the replicas in memory by their names."""
        return {each.name: each for each in self.models.resident()}

    def yielded(self, name: str) -> list[str]:
        """Return the names of the replicas whose calls are done, and which give their places to another one."""
        return [each.name for each in self.models.others(name) if each.yields_to == name and each.has_yielded]

    def yielding(self, name: str) -> list[str]:
        """Return the names of the replicas in use that have to give their places to another one."""
        # One that was lost with its node has no place to give, whatever it was to do.
        return self._turns.yielding(name, [each for each in self.models.others(name) if each.resident])

    def let_yield(self, name: str, yielding: Iterable[str]) -> None:
        """Let replicas give their places to another one once their calls are done."""
        self._turns.let_yield(name, yielding)

    def end_wait(self, name: str) -> None:
        """End the wait of a replica for a place."""
        self._end_wait(name)

    async def evict(self, names: Collection[str], other: str) -> None:
        """Unload replicas for another one, until whose `end_wait` they take no requests.

        There must be no await between the decision and this, so that no request comes between.
        """
        replicas = [self.models.by_name[each] for each in names]
        # Those that leave last, too: else one of them may come into use, and the others have left for nothing.
        for each in replicas:
            each.yield_to(other)
        await asyncio.gather(*(self._evictions.unload(each, "memory") for each in replicas))
