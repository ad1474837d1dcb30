"""On which accelerator of a machine a model is loaded."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from octabox.engine.local.resident.places import find_place


@dataclass
class Held:
    """A model in memory."""

    name: str
    device: str
    size: int
    keep_value: float = 1.0
    busy_seconds: float = 0.0
    pinned: bool = False
    last_used: float = 0.0
    resident: bool = True
    memory: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Hold the bytes on the device."""
        self.memory = {self.device: self.size}

    @property
    def idle(self) -> bool:
        """Whether it is not in use."""
        return not self.busy_seconds


def device_of(free: dict[str, int], *held: Any, size: int = 10, **limits: int) -> str | None:
    """Return the device of a model."""
    place = find_place(free, held, size, limits)
    return None if place is None else place.device


def test_an_idle_device_with_the_most_free_memory_is_first() -> None:
    """Of equal ones, that with fewer models; one where a model is in use comes after it."""
    assert "b" == device_of({"a": 2**30, "b": 2**31})
    assert "b" == device_of({"a": 2**30, "b": 2**30}, Held("one", "a", 1))
    assert "b" == device_of({"a": 2**31, "b": 2**30}, Held("one", "a", 1, busy_seconds=3.0))


def test_what_is_worth_least_makes_room() -> None:
    """A short wait is better than unloading what is worth more; what is in use or pinned is never unloaded."""
    cheap, dear = Held("cheap", "a", 10, 2.0), Held("dear", "b", 10, 9.0)
    models: Any = [cheap, dear]
    place = find_place({"a": 0, "b": 0}, models, 10, {})

    assert place is not None
    assert ("a", ("cheap",), 2.0) == (place.device, place.evicted, place.cost)
    assert "b" == device_of({"a": 0, "b": 10}, cheap, Held("busy", "b", 1, busy_seconds=1.0))
    assert "a" == device_of({"a": 0, "b": 10}, cheap, Held("busy", "b", 1, busy_seconds=3.0))
    assert device_of({"a": 0}, Held("busy", "a", 10, busy_seconds=1.0)) is None
    assert device_of({"a": 0}, Held("pinned", "a", 10, pinned=True)) is None


@pytest.mark.parametrize(("limit", "device"), [(100, "a"), (15, "b"), (14, None)])
def test_a_limit_makes_a_device_smaller(limit: int, device: str | None) -> None:
    """What models hold there counts against it."""
    pinned = Held("pinned", "a", 10, pinned=True), Held("other", "b", 5, pinned=True)

    assert device == device_of({"a": 2**31, "b": 2**30}, *pinned, devices=limit)


def test_a_model_on_several_devices_is_on_each_of_them() -> None:
    """It makes room on any, and keeps each of them busy."""
    split = Held("split", "a", 10, 2.0)
    split.memory["b"] = 10
    models: Any = [split]
    place = find_place({"b": 0}, models, 10, {})

    assert place is not None
    assert ("split",) == place.evicted
    split.busy_seconds = 3.0
    assert device_of({"b": 5, "c": 5}, split, size=5) == "c"
