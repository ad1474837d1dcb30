"""A place on a node for one replica, which is a placement group of Ray."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from functools import partial
from typing import Any

from ray.exceptions import RayError
from ray.util.placement_group import (
    PlacementGroup,
    placement_group,
    placement_group_table,
    remove_placement_group,
)
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from octabox.engine.ray.resources import Resources

#: Label that Ray gives each node: its id.
NODE_LABEL = "ray.io/node-id"

#: Seconds after which a place that could not be asked for is asked for again.
RETRY = 1.0


class Reservation:
    """A place for one replica; its end ends the replica.

    Args:
        group: Its placement group.
        resources: What it reserves.
        on_release: Called when it is given up.
        on_card: Called with the id of its accelerator, once that is known.
    """

    def __init__(
        self,
        group: PlacementGroup,
        resources: Resources,
        on_release: Callable[[], None] = lambda: None,
        on_card: Callable[[str | None], None] = lambda _: None,
    ) -> None:
        self._group, self.resources, self._on_release, self.note_card = group, resources, on_release, on_card
        self._ready: asyncio.Task[None] | None = None

    @property
    def strategy(self) -> PlacementGroupSchedulingStrategy:
        """What puts an actor there."""
        return PlacementGroupSchedulingStrategy(self._group, placement_group_bundle_index=0)

    async def wait(self, seconds: float) -> bool:
        """Wait until a node has the place; return whether one has."""
        if self._ready is None:
            self._ready = asyncio.create_task(_wait_for_group(self._group), name="place on a node")
        # Ray reports it to the event loop: a thread for each that waits would leave none for anything else.
        done, _ = await asyncio.wait({self._ready}, timeout=seconds)
        return bool(done) and not self._ready.cancelled() and self._ready.result() is None

    async def node(self) -> str:
        """Return the id of the node that has the place."""
        return await asyncio.to_thread(node_of_group, self._group)

    async def release(self) -> None:
        """Give the place up."""
        self._on_release()
        if self._ready:
            self._ready.cancel()
        await _remove(self._group)

    @contextlib.asynccontextmanager
    async def kept(self) -> AsyncIterator[None]:
        """Keep the place unless an error, or the end of the task, leaves the context: then nobody else could give it up."""
        try:
            yield
        except BaseException:
            await asyncio.shield(self.release())
            raise


async def create_group(resources: Resources, labels: Mapping[str, str]) -> PlacementGroup:
    """Request a placement group on a node; where the caller is cancelled, it is removed again.

    Args:
        resources: What it reserves.
        labels: Labels that the node must have, as Ray selects them; none for any node.
    """
    create = partial(placement_group, [dict(resources)], "SPREAD")
    if labels:
        create = partial(create, bundle_label_selector=[dict(labels)])
    # The thread goes on where the caller is cancelled, and then nothing but this task knows what it has created.
    creation = asyncio.create_task(asyncio.to_thread(create), name="creation of a placement group")
    try:
        return await asyncio.shield(creation)
    except asyncio.CancelledError:
        await asyncio.shield(_remove_created(creation))
        raise


async def _wait_for_group(group: PlacementGroup) -> None:
    """Wait until a node has the place of a group, also beyond errors of the cluster, such as while its head restarts."""
    while True:
        try:
            await _result(group.ready())
        except RayError:
            await asyncio.sleep(RETRY)
        else:
            return


async def _result(reference: Any) -> Any:
    """Return what an object of Ray is once it is there."""
    return await reference


async def _remove_created(creation: asyncio.Task[PlacementGroup]) -> None:
    """Remove a placement group once it has been created, if it is."""
    with contextlib.suppress(Exception):  # The caller has left, so that nobody waits for the error.
        await _remove(await creation)


async def _remove(group: PlacementGroup) -> None:
    """Remove a placement group."""
    with contextlib.suppress(Exception):  # The cluster may be gone.
        await asyncio.to_thread(remove_placement_group, group)


def node_of_group(group: PlacementGroup) -> str:
    """Return the id of the node that has a placement group; empty where it is gone again."""
    return str(placement_group_table(group).get("bundles_to_node_id", {}).get(0, ""))
