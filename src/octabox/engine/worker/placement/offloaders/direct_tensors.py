"""Keep on the device what a pipeline can read from an offloaded component without calling any of its layers."""

from __future__ import annotations

import torch


def direct_tensors(module: torch.nn.Module) -> list[torch.Tensor]:
    """Return the weights and buffers of a component itself, without those of its layers.

    A pipeline may read them, and the component's forward pass may return them: no hook knows when they are needed. They
    are small, except those of a component that is a single layer, which its forward pass loads.

    Args:
        module: The component.

    Returns:
        The tensors; those that are quantized or that a layer has too are left out.
    """
    children = list(module.children())
    if not children and has_forward(module):
        return []
    in_layers = {id(each) for child in children for each in child.parameters()}
    weights = (each for each in module.parameters(recurse=False) if type(each) is torch.nn.Parameter)
    return [*(each for each in weights if id(each) not in in_layers), *module.buffers(recurse=False)]


def has_forward(module: torch.nn.Module) -> bool:
    """Return whether a component can be called; some only hold weights for a pipeline to read."""
    return type(module).forward is not torch.nn.Module.forward


def move_in_place(tensors: list[torch.Tensor], device: torch.device) -> None:
    """Move tensors to a device; modules and pipelines refer to the same objects afterwards."""
    for each in tensors:
        if each.device != device:
            each.data = each.data.to(device)
