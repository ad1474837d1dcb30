"""What is read of the nodes of a cluster, and what of that has changed."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping
from typing import Any

import pytest

from octabox.engine.ray.places import snapshot
from octabox.engine.ray.places.snapshot import NodeReader, NodeResources, read_nodes
from queue_houses import until


@pytest.fixture
def nodes(monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, Any]]:
    """Return the nodes of a cluster, in the place of Ray; what is free of each is what it has."""
    found: dict[str, dict[str, Any]] = {
        name: {"Alive": name != "lost", "NodeID": name, "Resources": {"CPU": 2.0}} for name in ("a", "b", "lost")
    }
    monkeypatch.setattr(snapshot, "all_nodes", lambda: list(found.values()))
    monkeypatch.setattr(snapshot, "available_by_node", lambda: {"a": {"CPU": 1.0}})
    monkeypatch.setattr(snapshot, "draining_nodes", lambda: {"b"})
    return found


@pytest.mark.usefixtures("nodes")
def test_lost_nodes_are_left_out() -> None:
    """The others have what is free of them; a node without an entry has nothing free."""
    cpus = {"CPU": 2.0}

    assert {"a": NodeResources(cpus, {"CPU": 1.0}), "b": NodeResources(cpus, {}, draining=True)} == read_nodes()


async def test_only_changes_are_passed_on(nodes: dict[str, dict[str, Any]]) -> None:
    """A node that is lost is None; one that has not changed is not read again by the index."""
    passed = list[Mapping[str, NodeResources | None]]()

    async def on_change(changed: Mapping[str, NodeResources | None]) -> None:
        passed.append(changed)

    reader = NodeReader(on_change)
    await reader.read()
    nodes["b"]["Alive"] = False
    await reader.read()
    await reader.read()

    assert [["a", "b"], ["b"], []] == [sorted(each) for each in passed]
    assert passed[1]["b"] is None


@pytest.mark.usefixtures("nodes")
async def test_all_that_wait_share_a_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that come during a reading get the next one together, since the first may miss what was freed since."""
    readings, goes_on = list[int](), threading.Event()

    def read() -> dict[str, NodeResources]:
        readings.append(1)
        goes_on.wait(30)
        return {}

    async def on_change(_changed: Mapping[str, NodeResources | None]) -> None:
        """Do nothing."""

    monkeypatch.setattr(snapshot, "read_nodes", read)
    reader = NodeReader(on_change)
    first = asyncio.create_task(reader.read())
    await until(lambda: readings)
    others = [asyncio.create_task(reader.read()) for _ in range(100)]
    await asyncio.sleep(0)
    goes_on.set()
    await asyncio.gather(first, *others)

    assert 2 == len(readings)
