"""Places on nodes for the replicas of models, each a placement group of Ray."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from octabox.config.model import ModelConfig
from octabox.engine.ray.node_placement import HeldPlace, PlaceRequest, Replicas
from octabox.engine.ray.placement_groups import Reservation
from octabox.engine.ray.places.held_places import HeldPlaces
from octabox.engine.ray.places.needs import need_of
from octabox.engine.ray.places.possible import warn_if_large
from octabox.engine.ray.places.reserving import PlaceSearch
from octabox.engine.ray.resources import ReplicaNeed, card_bytes
from octabox.errors import CapacityError, DeviceError, OutOfMemoryError


class Reservations:
    """Reserves places for the replicas of models; it is the `ReplicaRoom` of their queues.

    Args:
        device: Device of models that name none.
        timeout: Seconds that a replica waits for a place.
        grows: Whether an autoscaler adds nodes.
        dtype: Dtype of models that configure none.
        limits: Bytes that models may use, by type of device.
        replicas: The replicas in memory, of which idle ones make room.
    """

    def __init__(
        self,
        device: str | None,
        timeout: float,
        *,
        grows: bool,
        dtype: str = "auto",
        limits: Mapping[str, int] | None = None,
        replicas: Replicas,
    ) -> None:
        self._device, self._grows, self._dtype, self._limits = device, grows, dtype, limits or {}
        self._replicas, self._places = replicas, HeldPlaces(replicas)
        self._search = PlaceSearch(self._places, replicas, timeout, grows=grows)
        self._waiting: dict[str, PlaceRequest] = {}

    async def reserve(self, name: str, model: ModelConfig) -> Reservation:
        """Reserve a place for a replica on the node where it costs least; idle replicas leave memory for it.

        Args:
            name: Name of the replica.
            model: The model.

        Raises:
            CapacityError: There is no place in time, no node could ever hold the model, or pinned ones hold its place.
        """
        await self._places.refresh()
        request = PlaceRequest(name, model.name, await self.need(model), self._places.failed(name))
        if not self._grows:
            self._places.check_possible(request)
        if request.need.accelerators:
            warn_if_large(request, self._places.nodes.sizes(request))
        self._waiting[name] = request
        try:
            reserved = await self._search.reserve(request)
        finally:
            self._waiting.pop(name, None)
        async with reserved.kept():
            self._places.add(name, HeldPlace(model.name, await reserved.node(), reserved.resources))
        self._replicas.end_wait(name)
        return reserved

    def holds(self, name: str) -> bool:
        """Return whether a replica has a place."""
        return name in self._places

    @property
    def several_devices(self) -> bool:
        """Return True: nodes may join at any time."""
        return True

    async def has_room(self, model: ModelConfig, size: int, excluded: Collection[str], value: float) -> bool:
        """Return whether a node has a place for one more replica of a model that costs no more than it is worth.

        Args:
            model: Its configuration.
            size: Of no use, since a place is an accelerator or a share of it, or the memory of the weights.
            excluded: Of no use, since no place is reserved twice.
            value: Seconds that the replica is worth.
        """
        del size, excluded
        await self._places.refresh()
        request = PlaceRequest("", model.name, await self.need(model))
        resources = request.need.resources().keys()
        if any(each.need.resources().keys() & resources for each in self._waiting.values()):
            return False  # One that is requested already is first.
        place = self._places.find(request)
        return place is not None and place.cost <= value

    async def can_be_elsewhere(self, name: str, model: ModelConfig, error: CapacityError | DeviceError) -> bool:
        """Note that a replica could not be loaded in its place, and return whether another node may hold it.

        Args:
            name: Name of the replica.
            model: The model.
            error: Why: where memory was missing, an accelerator must have more.
        """
        if not self._places.note_failure(name, memory=isinstance(error, OutOfMemoryError)):
            return False
        await self._places.refresh()
        request = PlaceRequest(name, model.name, await self.need(model), self._places.failed(name))
        try:
            self._places.check_possible(request)
        except CapacityError:
            return False
        return True

    def end_load(self, name: str) -> None:
        """Forget where a replica could not be loaded, since its load has ended."""
        self._places.forget_failures(name)

    async def need(self, model: ModelConfig) -> ReplicaNeed:
        """Return what a replica of a model needs of a node."""
        nodes = self._places.nodes.totals().values()
        return await need_of(model, self._device, self._dtype, self._limits, nodes)

    async def resources(self, model: ModelConfig) -> dict[str, float]:
        """Return what a replica of a model reserves on the smallest accelerators that it may be on; elsewhere it is less."""
        need, nodes = await self.need(model), self._places.nodes.totals().values()
        sizes = {card_bytes(node) for node in nodes if node.get("GPU", 0.0) >= 1}
        return need.resources(min((size for group in need.suitable(sizes) for size in group), default=0))
