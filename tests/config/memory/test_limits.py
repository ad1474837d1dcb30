"""Limits of memory as users write them."""

from __future__ import annotations

from typing import Any

import pytest

from octabox.config.memory.limits import limit_of
from octabox.config.settings import Settings
from octabox.errors import ConfigError

GIB = 2**30


@pytest.mark.parametrize(
    ("value", "limits"),
    [
        ("20GiB", {"devices": 20 * GIB}),
        (str(GIB), {"devices": GIB}),
        ("cuda:0=20GiB, host = 16 GiB", {"cuda:0": 20 * GIB, "host": 16 * GIB}),
        ({"cuda": "500MB", "host": 7}, {"cuda": 500_000_000, "host": 7}),
    ],
)
def test_a_size_or_sizes_by_place(value: Any, limits: dict[str, int]) -> None:
    """One size is that of each device."""
    assert limits == Settings.load({"max_memory": value}, environ={}).max_memory


@pytest.mark.parametrize(
    "value", ["much", "0", "host=", "host=1GiB,host=2GiB", {"host": True}, "-1GiB", "20GiB,30GiB", "20GiB x"]
)
def test_anything_else_is_refused(value: Any) -> None:
    """The error names the setting, and states what a limit is."""
    with pytest.raises(ConfigError, match=r"`max_memory` must (be a size such as 20GiB|have one size)"):
        Settings.load({"max_memory": value}, environ={})


def test_the_most_specific_limit_counts() -> None:
    """That of the device, then of its type, then of all devices; the host has only its own."""
    limits = {"cuda:1": 1, "cuda": 2, "devices": 3}

    assert [1, 2, 3, None] == [limit_of(limits, place) for place in ("cuda:1", "cuda:0", "xpu:0", "host")]
    assert 5 == limit_of({"host": 5}, "host")
