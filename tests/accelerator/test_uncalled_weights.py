"""Weights that a pipeline uses without calling the module that they belong to, in every memory mode that offloads."""

from __future__ import annotations

import gc
from collections.abc import Callable

import pytest
import torch

from octabox.engine.worker.memory_modes.decision import MODES
from octabox.engine.worker.placement.offload import Placement
from pretended_accelerator import Control

WIDTH = 8
OFFLOADING = (*MODES[1:], "sequential_cpu_offload")
LAYERS = ("group_offload", "sequential_cpu_offload")


class Embeddings(torch.nn.Module):
    """Weights that pipelines read; it has no forward pass."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.full((1, WIDTH), 2.0))


class Decoder(torch.nn.Module):
    """A layer with a buffer, which another method than the forward pass reads."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(WIDTH, WIDTH)
        self.register_buffer("mean", torch.full((WIDTH,), 3.0))


class Component(torch.nn.Module):
    """A component whose weights leave it."""

    def __init__(self) -> None:
        super().__init__()
        self.embeddings, self.decoder = Embeddings(), Decoder()
        self.empty = torch.nn.Parameter(torch.full((1, WIDTH), 4.0))

    def forward(self, given: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return what is computed, and a weight."""
        return self.decoder.layer(given), self.empty

    def decode(self, given: torch.Tensor) -> torch.Tensor:
        """Compute without the forward pass of the decoder."""
        made: torch.Tensor = self.decoder.layer(given) + self.decoder.mean
        return made


def bare(parts: dict[str, torch.nn.Module], other: torch.Tensor) -> torch.Tensor:
    """Repeat a weight of a component that is never called."""
    weight: torch.Tensor = parts["embeddings"].weight  # type: ignore[assignment]
    return torch.cat([weight.unsqueeze(0).repeat(2, 1, 1).view(2, -1), other])


def returned(parts: dict[str, torch.nn.Module], other: torch.Tensor) -> torch.Tensor:
    """Repeat a weight that the forward pass has returned."""
    made, weight = parts["part"](other)
    return torch.cat([weight.repeat(2, 1), made])


def read_first(parts: dict[str, torch.nn.Module], other: torch.Tensor) -> torch.Tensor:
    """Read a weight of a component that has not been called."""
    weight: torch.Tensor = parts["part"].empty  # type: ignore[assignment]
    return weight.repeat(2, 1) * other


def buffered(parts: dict[str, torch.nn.Module], other: torch.Tensor) -> torch.Tensor:
    """Read a buffer of a layer that is not called."""
    made: torch.Tensor = parts["part"].decode(other)  # type: ignore[operator]
    return made


def nested(parts: dict[str, torch.nn.Module], other: torch.Tensor) -> torch.Tensor:
    """Repeat a weight of a layer that is not called."""
    weight: torch.Tensor = parts["part"].embeddings.weight  # type: ignore[assignment, union-attr]
    return torch.cat([weight.expand(2, -1).repeat(1, 1), other])


@pytest.mark.parametrize(
    ("mode", "use"),
    [*((mode, use) for mode in OFFLOADING for use in (bare, returned, read_first, buffered))]
    + [(mode, nested) for mode in LAYERS],
)
def test_what_is_not_called_is_found(
    accelerator: Control, mode: str, use: Callable[[dict[str, torch.nn.Module], torch.Tensor], torch.Tensor]
) -> None:
    """The result is that of the host, twice, and each call leaves on the device what was there before."""
    torch.manual_seed(0)
    parts: dict[str, torch.nn.Module] = {"embeddings": Embeddings(), "part": Component()}
    for part in parts.values():
        part.eval().requires_grad_(requires_grad=False)
    wanted = use(parts, torch.ones(2, WIDTH))
    placement = Placement(mode, "fake:0")
    placement.install(parts)
    gc.collect()
    waiting = accelerator.allocated()
    for _ in range(2):
        with placement.call_scope():
            made = use(parts, torch.ones(2, WIDTH, device="fake:0"))
        assert "fake" == made.device.type
        made = made.cpu()
        gc.collect()

        assert torch.allclose(wanted, made, atol=1e-5)
        assert waiting == accelerator.allocated()


@pytest.mark.parametrize("mode", OFFLOADING)
def test_layers_leave_the_device(accelerator: Control, mode: str) -> None:
    """Only what nothing would load again stays there, and all leaves it with the hooks."""
    part, gone = Component(), accelerator.allocated()
    placement = Placement(mode, "fake:0")
    placement.install({"part": part})
    if mode != "encoder_offload":  # It keeps all but encoders.
        assert {"cpu"} == {each.device.type for each in part.decoder.layer.parameters()}
    placement.leave_device("")

    assert {"cpu"} == {each.device.type for each in [*part.parameters(), *part.buffers()]}
    assert gone == accelerator.allocated()
