"""What a replica needs of a node, and which nodes would refuse it again."""

from __future__ import annotations

from octabox.engine.ray.node_placement import PlaceRequest
from octabox.engine.ray.resources import ReplicaNeed


def test_a_node_refuses_until_something_else_is_free_there() -> None:
    """Other resources, and nodes that did not refuse, do not matter."""
    seen = {"a": {"CPU": 1.0, "memory": 4e9, "store": 9.0}}
    request = PlaceRequest("new", "m", ReplicaNeed(cpus=1.0, memory=4e9), refused=dict(seen))

    assert request.is_refused("a", {"CPU": 1.0, "memory": 4e9, "store": 1.0})
    assert not request.is_refused("a", {"CPU": 2.0, "memory": 4e9})
    assert not request.is_refused("b", {"CPU": 1.0, "memory": 4e9})
