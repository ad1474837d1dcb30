"""What Ray reports of the nodes: their resources, what is free of them, and which nodes are being drained."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from octabox.engine.ray.connection import all_nodes, available_by_node, draining_nodes
from octabox.engine.ray.resources import Resources


@dataclass(frozen=True)
class NodeResources:
    """A node that is alive.

    Args:
        total: Its resources.
        free: Those of them that nobody has reserved.
        draining: Whether Ray places nothing there any more, since it is to end.
    """

    total: Resources
    free: Resources
    draining: bool = False


def read_nodes() -> dict[str, NodeResources]:
    """Return the nodes that are alive, by their ids."""
    free, draining = available_by_node(), draining_nodes()
    return {
        node["NodeID"]: NodeResources(dict(node["Resources"]), free.get(node["NodeID"], {}), node["NodeID"] in draining)
        for node in all_nodes()
        if node["Alive"]
    }


class NodeReader:
    """Reads the nodes for all that wait for places together, and passes on what has changed.

    Args:
        on_change: Called with each node that has changed; None is one that was lost.
    """

    def __init__(self, on_change: Callable[[Mapping[str, NodeResources | None]], Awaitable[None]]) -> None:
        self._on_change = on_change
        self._seen: dict[str, NodeResources] = {}
        self._reading, self._next = asyncio.Lock(), None

    _next: asyncio.Task[None] | None

    async def read(self) -> None:
        """Read the nodes; what has begun before may miss what was freed since, so that one more reading serves all."""
        if self._next is None:
            self._next = asyncio.create_task(self._read(), name="resources of the nodes")
        await asyncio.shield(self._next)

    async def _read(self) -> None:
        async with self._reading:
            self._next = None
            seen, changed = await asyncio.to_thread(self._compare)
            await self._on_change(changed)
            self._seen = seen

    def _compare(self) -> tuple[dict[str, NodeResources], dict[str, NodeResources | None]]:
        """Return the nodes, and those of them that have changed: here, so that many nodes hold nobody up."""
        found, before = read_nodes(), self._seen
        changed: dict[str, NodeResources | None] = {
            name: each for name, each in found.items() if before.get(name) != each
        }
        return found, changed | dict.fromkeys(before.keys() - found.keys())
