"""Devices, replicas and what is learned of models, as far as it matters where requests run. Times are seconds of some clock."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Device:
    """A device that holds replicas.

    Args:
        name: Its name, unique in the cluster.
        total: Bytes that replicas may hold on it.
        node: The machine that it fails with.
        busy_until: When it will have finished the work that it has; for an idle device, when it finished the last.
        working: Whether it runs something.
        draining: Whether it takes no new replicas.
    """

    name: str
    total: int
    node: str = ""
    busy_until: float = 0.0
    working: bool = False
    draining: bool = False


@dataclass(frozen=True)
class Replica:
    """A model on a device, in memory or being loaded.

    Args:
        name: Its name, unique in the cluster.
        model: Key of what it has loaded.
        device: Name of its device.
        size: Bytes that it holds there.
        busy_until: When it will have finished the requests that it has, or its load.
        waiting: How many requests it has: those that run, and those that wait for it.
        adapters: Adapters that it has loaded.
        loading: Whether it is being loaded.
        draining: Whether it takes no new requests, since it is to be unloaded.
        pinned: Whether it is never unloaded for another one.
    """

    name: str
    model: str
    device: str
    size: int = 0
    busy_until: float = 0.0
    waiting: int = 0
    adapters: frozenset[str] = frozenset()
    loading: bool = False
    draining: bool = False
    pinned: bool = False

    @property
    def evictable(self) -> bool:
        """Whether it may be unloaded for another one: it is not in use, not being loaded, and not pinned."""
        return not (self.waiting or self.loading or self.pinned)

    @property
    def free(self) -> bool:
        """Whether it takes a request now, as far as its device is idle."""
        return not (self.waiting or self.loading or self.draining)


@dataclass(frozen=True)
class ModelCosts:
    """What was learned of a model.

    Args:
        load_seconds: What a load takes.
        run_seconds: What a request takes.
        rate: Requests for each second.
    """

    load_seconds: float = 30.0
    run_seconds: float = 1.0
    rate: float = 0.0
