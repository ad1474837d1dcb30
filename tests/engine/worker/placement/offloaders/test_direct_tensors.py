"""Which tensors of a component can be read without a call of its layers."""

from __future__ import annotations

import torch

from octabox.engine.worker.placement.offloaders.direct_tensors import direct_tensors, has_forward, move_in_place


class Weights(torch.nn.Module):
    """A component that cannot be called."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(2))
        self.register_buffer("scale", torch.ones(2))


class Encoder(Weights):
    """A component with a layer, whose weight it has too."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(2, 2)
        self.tied = self.layer.weight

    def forward(self, given: torch.Tensor) -> torch.Tensor:
        """Compute."""
        made: torch.Tensor = self.layer(given)
        return made


def test_weights_of_the_component_itself_are_direct() -> None:
    """Those of its layers are not, also if they have a second name."""
    part = Encoder()

    assert [id(part.weight), id(part.scale)] == [id(each) for each in direct_tensors(part)]


def test_a_single_layer_is_loaded_by_its_call() -> None:
    """All its weights are direct, and it would never leave the device; without a forward pass nothing else loads it."""
    assert [] == direct_tensors(torch.nn.Linear(2, 2))
    assert len(direct_tensors(Weights())) == len(["weight", "scale"])
    assert [True, False] == [has_forward(each) for each in (torch.nn.Linear(2, 2), Weights())]


def test_moved_tensors_are_the_same_objects() -> None:
    """The component refers to them still."""
    part = Weights().to(torch.float16)
    move_in_place(direct_tensors(part), torch.device("cpu"))

    assert part.weight is part._parameters["weight"]
