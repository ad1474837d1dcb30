"""The output of a batch is divided among its members, and two outputs are compared."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from octabox.engine.worker.batches.outputs import (
    DivisionError,
    divide_latents,
    divide_output,
    find_difference,
    is_finite,
)


def test_each_member_gets_its_part() -> None:
    """Of lists and arrays the items in order, several if there are; a value for all is that of each."""
    first, second = divide_output({"a": ["x", "y"], "b": np.arange(4), "rate": 8, "none": None}, 2)

    assert (["x"], [0, 1], 8, None) == (first["a"], first["b"].tolist(), first["rate"], first["none"])
    assert (["y"], [2, 3]) == (second["a"], second["b"].tolist())


@pytest.mark.parametrize("value", [["x"], [], np.zeros((3, 2)), {"a": [1, 2]}, object()])
def test_other_outputs_cannot_be_divided(value: Any) -> None:
    """Where the items are not as many for each member, the field is named."""
    with pytest.raises(DivisionError, match="'images' of its output"):
        divide_output({"images": value}, 2)


def test_latents_are_divided() -> None:
    """Each member gets a batch of its own, or None."""
    assert [[[0, 1]], [[2, 3]]] == [each.tolist() for each in divide_latents(torch.arange(4).reshape(2, 2), 2)]
    assert [None, None] == divide_latents(torch.zeros(3), 2) == divide_latents("none", 2)


@pytest.mark.parametrize(
    ("one", "other", "tolerance", "found"),
    [
        ({"a": np.zeros(2)}, {"a": np.zeros(2)}, 1e-4, ""),
        ({"a": np.zeros(2)}, {"a": np.full(2, 2e-4)}, 1e-4, "differs by 0.0002"),
        ({"a": [torch.zeros(2)]}, {"a": [torch.zeros(3)]}, 1e-4, "has the shapes"),
        ({"a": np.array([np.nan])}, {"a": np.zeros(1)}, 1e-4, "differs by nan"),
        ({"a": np.zeros(2)}, {"a": np.full(2, 0.02)}, None, ""),
        ({"a": np.zeros(2)}, {"a": np.full(2, 0.1)}, None, "differs by 0.1"),
        ([Image.new("L", (1, 1), 255)], [Image.new("L", (1, 1), 0)], 1e-4, "differs by 1"),
        ({"a": 1000.0}, {"a": 1000.05}, 1e-4, ""),
    ],
)
def test_outputs_are_compared(one: Any, other: Any, tolerance: float | None, found: str) -> None:
    """All numbers, relative to the largest one above 1."""
    difference = find_difference(one, other, tolerance)

    assert found in difference
    assert bool(found) == bool(difference)


def test_nan_is_found() -> None:
    """It cannot be compared."""
    assert is_finite({"a": [np.zeros(1)], "b": "text"})
    assert not is_finite({"a": [np.array([np.inf])]})
