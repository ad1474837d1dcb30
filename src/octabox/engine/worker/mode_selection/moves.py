"""Move the weights of a loaded model between two calls: to where another memory mode has them, or all to the host."""

from __future__ import annotations

import logging
from itertools import chain

import torch

from octabox.engine.worker.loading.models import LoadedModel
from octabox.engine.worker.performance.modules import find_modules
from octabox.engine.worker.placement.process_memory import release_memory
from octabox.engine.worker.placement.recovery import ModelState, clean_up
from octabox.engine.worker.runner import Runner
from octabox.errors import LoadError

logger = logging.getLogger("octabox.worker")


def change_mode(loaded: LoadedModel, runner: Runner, mode: str, reason: str) -> None:
    """Move the weights as a memory mode places them, from wherever they are.

    Args:
        loaded: The model.
        runner: Runs its calls.
        mode: The mode.
        reason: Why it was selected.
    """
    _attach_loras(loaded)
    loaded.placement.change_mode(mode, reason)
    release_memory(loaded.device)
    runner.state = ModelState(runner.pipelines)
    runner.note_state()


def move_to_host(loaded: LoadedModel, runner: Runner) -> None:
    """Move all weights to the host, and release the memory of the device.

    Args:
        loaded: The model.
        runner: Runs its calls.

    Raises:
        LoadError: Its weights cannot be moved: compiled code depends on where they are, and some quantized ones must stay.
    """
    if loaded.device == "cpu":
        raise LoadError("The weights of a model on the CPU are on the host already.")
    if loaded.performance.compiles:
        raise LoadError("Compiled code depends on where the weights are.")
    _attach_loras(loaded)
    clean_up(runner.pipelines, loaded.device)
    loaded.placement.leave_device(
        f"The weights are on the host, since another model needs the memory of {loaded.device}."
    )
    for holder in {id(each): each for pipe in runner.pipelines for each in (pipe, *pipe.components.values())}.values():
        if not isinstance(holder, torch.nn.Module):
            _move_state(holder)
    release_memory(loaded.device)
    if left := _names_on_device(loaded):
        raise LoadError(f"The weights of {', '.join(left)} cannot be moved from {loaded.device}.")


def _attach_loras(loaded: LoadedModel) -> None:
    """Let layers have their LoRAs, so that these are moved too; copies into which LoRAs were merged are released."""
    if loaded.loras is not None:
        loaded.loras.attach()


def _move_state(holder: object) -> None:
    """Move to the host what the last call has left in a pipeline or a scheduler, such as its timesteps."""
    for name, value in getattr(holder, "__dict__", {}).items():
        if isinstance(value, torch.Tensor) and not _is_on_host(value):
            setattr(holder, name, value.cpu())
        elif isinstance(value, list):
            value[:] = [each.cpu() if isinstance(each, torch.Tensor) else each for each in value]


def _names_on_device(loaded: LoadedModel) -> list[str]:
    """Return the components that have weights on a device."""
    modules = find_modules({**loaded.pipeline.components, **loaded.extra_components})
    return [name for name, module in modules.items() if not all(map(_is_on_host, _tensors(module)))]


def _tensors(module: torch.nn.Module) -> chain[torch.Tensor]:
    return chain(module.parameters(), module.buffers())


def _is_on_host(tensor: torch.Tensor) -> bool:
    return tensor.device.type in ("cpu", "meta")
