"""The nodes of a cluster, as far as servers that share it need to know."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from octabox.engine.ray.connection import all_nodes, available_by_node, draining_nodes
from octabox.engine.ray.resources import Resources


class ClusterNodes:
    """The nodes of the cluster that this process is connected to."""

    async def free(self) -> Mapping[str, Resources]:
        """Return the free resources of each node that takes replicas, by its id."""
        free, draining = await asyncio.to_thread(available_by_node), await asyncio.to_thread(draining_nodes)
        return {node: left for node, left in free.items() if node not in draining}

    async def cards(self) -> Mapping[str, int]:
        """Return how many accelerators each of them has."""
        nodes = await asyncio.to_thread(all_nodes)
        return {node["NodeID"]: int(node["Resources"].get("GPU", 0)) for node in nodes if node["Alive"]}
