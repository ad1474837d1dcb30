"""Operators get device copies of offloaded weights, and what they change stays the weight itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from octabox.engine.worker.placement.offloaders.borrowed_weights import BorrowedWeights

#: A device of torch's own, whose tensors have no numbers.
DEVICE = torch.device("meta")


@pytest.fixture
def weight() -> torch.nn.Parameter:
    """Return a weight on the host."""
    return torch.nn.Parameter(torch.ones(2, 2), requires_grad=False)


def test_an_operator_gets_a_copy(weight: torch.nn.Parameter) -> None:
    """The weight stays on the host."""
    with BorrowedWeights(DEVICE):
        made = torch.nn.functional.linear(torch.ones(1, 2, device=DEVICE), weight)

    assert ("meta", "cpu") == (made.device.type, weight.device.type)


@pytest.mark.parametrize(
    "read",
    [lambda weight, other: weight[other], lambda weight, other: weight == other, lambda weight, other: other % weight],
)
def test_python_operators_read(weight: torch.nn.Parameter, read: Callable[[Any, Any], torch.Tensor]) -> None:
    """Such as a row of a table."""
    with BorrowedWeights(DEVICE):
        made = read(weight, torch.ones(2, device=DEVICE, dtype=torch.int64))

    assert "meta" == made.device.type


def test_a_weight_can_be_moved(weight: torch.nn.Parameter) -> None:
    """Hooks move it by its data, which torch's own setter sees: a host tensor of another type of device is refused there."""
    with BorrowedWeights(DEVICE), pytest.raises(RuntimeError, match="incompatible tensor type"):
        weight.data = torch.ones(2, 2, device=DEVICE)
    with BorrowedWeights(DEVICE):
        weight.data = weight.data.half()

    assert torch.float16 == weight.dtype


@pytest.mark.parametrize("change", ["copy_", "add_", "__iadd__"])
def test_what_is_changed_is_the_weight(weight: torch.nn.Parameter, change: str) -> None:
    """A copy that is changed would be lost."""
    with BorrowedWeights(torch.device("cpu")):
        getattr(weight, change)(torch.full((2, 2), 3.0))

    assert {"copy_": 3.0}.get(change, 4.0) == weight[0, 0].item()


@pytest.mark.parametrize("make", [lambda weight: weight.repeat(2, 1), lambda weight: weight[:1].mean(dim=0)])
def test_what_is_made_of_a_weight_alone_is_moved(
    weight: torch.nn.Parameter, make: Callable[[torch.Tensor], torch.Tensor]
) -> None:
    """A weight that a component returns is repeated before it meets a tensor of the device."""
    with BorrowedWeights(DEVICE):
        made = make(weight)

    assert ("meta", "cpu") == (made.device.type, weight.device.type)


@pytest.mark.parametrize(
    "use",
    [
        lambda weight: weight.data,
        lambda weight: weight[:1],
        lambda weight: weight.mul_(1),
        lambda weight: weight.half(),
    ],
)
def test_the_weight_itself_stays(weight: torch.nn.Parameter, use: Callable[[torch.Tensor], torch.Tensor]) -> None:
    """So do views of it, and what a module is converted to, which are its weights afterwards."""
    with BorrowedWeights(DEVICE):
        assert "cpu" == use(weight).device.type
