"""The offloaders of components, and the notes of a placement without offloading."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import pytest
import torch

from octabox.config.model import ModelConfig
from octabox.engine.worker.placement.offload import Placement, prepare_placement
from octabox.engine.worker.placement.offloaders.alignment import move_tensors
from octabox.engine.worker.placement.offloaders.component import ComponentOffloader, EvictionPolicy


class CountingModule(torch.nn.Module):
    """A component that counts its moves."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.moves = torch.nn.Linear(2, 2), 0

    def to(self, *args: Any, **kwargs: Any) -> Any:
        """Count and move."""
        self.moves += 1
        return super().to(*args, **kwargs)

    def forward(self, given: torch.Tensor) -> torch.Tensor:
        """Compute something."""
        made: torch.Tensor = self.layer(given)
        return made


@pytest.mark.parametrize("mode", ["model_cpu_offload", "sequential_cpu_offload", "group_offload"])
def test_a_processor_has_nothing_to_move(mode: Any) -> None:
    """On the CPU a memory mode is a warning and has no effect."""
    config = ModelConfig(name="tiny", model="tiny", memory=mode)
    placement = prepare_placement(config, "StableDiffusionPipeline", "cpu")
    module = CountingModule()
    placement.install({"unet": module, "scheduler": object()})
    with placement.call_scope(), placement.without_eviction(), placement.suspended():
        module(torch.ones(2))

    assert not placement.offloads
    assert 1 == len(placement.notes)
    assert f"`memory: {mode}` has no effect" in placement.notes[0]
    assert not module._forward_pre_hooks


def test_components_that_work_in_turns_stay_together() -> None:
    """Two that alternate are moved a few times, then stay; a third one still evicts them."""
    eviction = EvictionPolicy(torch.device("cpu"))
    modules = {name: CountingModule() for name in ("unet", "controlnet", "vae")}
    offloaders = {name: ComponentOffloader(name, module, eviction) for name, module in modules.items()}
    for offloader in offloaders.values():
        offloader.install()
    for _ in range(4):
        for name in ("controlnet", "unet"):
            modules[name](torch.ones(2))
    moves = [modules[name].moves for name in ("controlnet", "unet")]
    for _ in range(10):
        for name in ("controlnet", "unet"):
            modules[name](torch.ones(2))

    assert moves == [modules[name].moves for name in ("controlnet", "unet")]
    modules["vae"](torch.ones(2))
    assert [count + 1 for count in moves] == [modules[name].moves for name in ("controlnet", "unet")]


def test_a_component_for_the_while_moves_no_other() -> None:
    """It is loaded without eviction and offloaded afterwards."""
    eviction = EvictionPolicy(torch.device("cpu"))
    modules = {name: CountingModule() for name in ("unet", "vae")}
    for name, module in modules.items():
        ComponentOffloader(name, module, eviction).install()
    modules["unet"](torch.ones(2))
    moves = modules["unet"].moves
    with eviction.without_eviction():
        modules["vae"](torch.ones(2))

    assert moves == modules["unet"].moves
    assert 3 == modules["vae"].moves


def test_hooks_are_taken_off() -> None:
    """Suspended components have no hooks; afterwards they have them again, also after an error."""
    placement = Placement("model_cpu_offload", "meta")
    placement.install({})
    module = CountingModule()
    offloader = ComponentOffloader("unet", module, EvictionPolicy(torch.device("cpu")))
    offloader.install()
    placement._offloaders = [offloader]
    for error in (None, KeyError()):
        with nullcontext() if error is None else pytest.raises(KeyError), placement.suspended():
            assert not module._forward_pre_hooks
            assert not hasattr(module, "_hf_hook")
            if error is not None:
                raise error
        assert module._forward_pre_hooks


def test_arguments_are_the_same_objects_where_nothing_is_to_be_moved() -> None:
    """A list that a component writes to is the pipeline's list."""
    arguments = ([torch.ones(2)], {"cache": [None]})

    assert arguments is move_tensors(arguments, torch.device("cpu"))
    moved = move_tensors(arguments, torch.device("meta"))
    assert "meta" == moved[0][0].device.type
    assert [None] == moved[1]["cache"]
