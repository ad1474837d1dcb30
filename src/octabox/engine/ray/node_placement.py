"""The place of a replica on a node: the one that it holds, and the one that it needs."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from octabox.engine.local.resident.room import ResidentModel
from octabox.engine.ray.resources import ReplicaNeed, Resources


@dataclass(frozen=True)
class HeldPlace:
    """The place of a replica.

    Args:
        model: Name of its model.
        node: Id of its node.
        resources: What it has reserved there.
        card: Id of its accelerator there; None where it has none, or until that is known.
        coming: Whether the replica still waits for it, while it is kept for nobody else.
        leaving: Whether it is being given up for another replica, which has its place already.
    """

    model: str
    node: str
    resources: Resources
    card: str | None = None
    coming: bool = False
    leaving: bool = False


@dataclass
class FailedPlaces:
    """Where a replica could not be loaded.

    Args:
        nodes: Ids of nodes whose devices have failed, or lacked memory of an unknown size.
        too_small: Bytes of the largest accelerator that lacked memory.
    """

    nodes: set[str] = field(default_factory=set)
    too_small: int = 0


@dataclass(frozen=True)
class PlaceRequest:
    """A place that a replica needs.

    Args:
        name: Name of the replica.
        model: Name of its model.
        need: What it needs.
        failed: Where it could not be loaded.
        refused: The nodes that did not give a place that seemed to be free, with what was free there.
    """

    name: str
    model: str
    need: ReplicaNeed
    failed: FailedPlaces = field(default_factory=FailedPlaces)
    refused: dict[str, Resources] = field(default_factory=dict)

    def is_refused(self, node: str, free: Resources) -> bool:
        """Return whether a node would refuse it again, since what is free there has not changed.

        Args:
            node: Id of the node.
            free: Its free resources.
        """
        before = self.refused.get(node)
        return before is not None and all(before.get(name) == free.get(name) for name in self.need.resources())


@dataclass(frozen=True)
class NodeChoice:
    """Where a replica is placed.

    Args:
        node: Id of the node.
        resources: What it reserves there.
        evicted: Names of the replicas that are unloaded there first.
        cost: Seconds that unloading them is expected to cost later requests.
    """

    node: str
    resources: Mapping[str, float]
    evicted: tuple[str, ...] = ()
    cost: float = 0.0


class Replicas(Protocol):
    """The replicas in memory on a cluster."""

    def find(self, name: str) -> ResidentModel | None:
        """Return a replica; None if it is unknown."""

    def take_changed(self) -> Collection[str]:
        """Return the names of the replicas that have come into use, become idle or were pinned since the last call."""

    def yielded(self, name: str) -> list[str]:
        """Return the names of the replicas whose calls are done, and which give their places to another one."""

    def yielding(self, name: str) -> list[str]:
        """Return the names of the replicas in use that have to give their places to another one."""

    def let_yield(self, name: str, yielding: Iterable[str]) -> None:
        """Let replicas give their places to another one once their calls are done."""

    def end_wait(self, name: str) -> None:
        """End the wait of a replica for a place."""

    async def evict(self, names: Collection[str], other: str) -> None:
        """Unload replicas for another one, until whose `end_wait` they take no requests.

        There must be no await between the decision and this, so that no request comes between.
        """
