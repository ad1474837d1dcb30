"""Sizes of memory as text."""

from __future__ import annotations

import pytest

from octabox.engine.memory.units import format_bytes


@pytest.mark.parametrize(
    ("size", "text"), [(5, "5 bytes"), (1536, "1.50 KiB"), (3 * 2**20, "3.00 MiB"), (2.5 * 2**30, "2.50 GiB")]
)
def test_a_size_has_the_largest_unit(size: float, text: str) -> None:
    """Two decimals are enough."""
    assert text == format_bytes(size)
