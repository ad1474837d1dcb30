"""Which replicas are in memory on the cluster, and which one makes room for another."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager

from octabox.config.model import ModelConfig
from octabox.engine.local.residency import Residency
from octabox.engine.local.resident.room import select_evicted
from octabox.engine.ray.resources import device_type


class ClusterDevices:
    """The devices of a cluster: Ray chooses the node and the accelerator, so that only the type is known."""

    @asynccontextmanager
    async def assigned(
        self, model: ModelConfig, requested: str | None, in_use: Collection[str], excluded: Collection[str] = ()
    ) -> AsyncIterator[str | None]:
        """Return the type of the requested device; None leaves the choice to the worker."""
        del model, in_use, excluded
        yield device_type(requested)

    @property
    def several(self) -> bool:
        """Return False, since `Reservations` knows whether there is room for another replica."""
        return False

    async def alternatives(self, requested: str | None, excluded: Collection[str]) -> list[str]:
        """Return none, since Ray chooses the device."""
        del requested, excluded
        return []

    async def has_room(self, requested: str | None, size: int, excluded: Collection[str]) -> bool:
        """Return False, since Ray chooses the device."""
        del requested, size, excluded
        return False

    async def free(self, device: str) -> int | None:
        """Return None, since a device of another machine is not queried."""
        del device
        return None


class ClusterResidency(Residency):
    """The replicas in memory on the cluster."""

    async def evict_idle(self, name: str) -> bool:
        """Unload an idle replica for another one; return whether there was one.

        Args:
            name: Name of the replica that is to be loaded.
        """
        evicted = select_evicted(self._others(name))
        if evicted is None:
            return False
        await self._evictions.unload(evicted, "memory")
        return True
