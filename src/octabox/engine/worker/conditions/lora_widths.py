"""Refuse LoRAs that are larger than the layers of a model, and restore the layers that one has expanded.

diffusers replaces a layer that is smaller than a LoRA's matrices by a larger one, and keeps that when the LoRA is unloaded.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from octabox.catalog.conditions.control import control_channel_pipelines, has_control_channels
from octabox.catalog.pipelines import load_catalog

#: Ends of the names of a layer's two matrices in PEFT's layout.
_DOWN, _UP = ".lora_A.weight", ".lora_B.weight"

#: Attribute of diffusers for the original weights of the layers that it has expanded.
_ORIGINALS = "_overwritten_params"


def find_expanded(pipe: Any, tensors: Mapping[str, torch.Tensor], components: Mapping[str, torch.nn.Module]) -> str:
    """Return the first layer that a LoRA is too wide for; empty if there is none.

    Args:
        pipe: A pipeline that supports LoRAs.
        tensors: The LoRA's tensors in the layout of PEFT.
        components: Components of the pipeline that support LoRAs.

    Raises:
        ValueError: There is one, and the pipeline does not take control images in further channels of that layer.
    """
    for name, down in tensors.items():
        component, _, layer = name.removesuffix(_DOWN).partition(".")
        up = tensors.get(f"{component}.{layer}{_UP}")
        if not name.endswith(_DOWN) or component not in components or up is None or down.ndim != up.ndim:
            continue
        sizes = _layer_sizes(components[component], layer)
        lora_sizes = (down.shape[1], up.shape[0])
        if sizes is None or (lora_sizes[0] <= sizes[0] and lora_sizes[1] <= sizes[1]):
            continue
        _check_control_channels(pipe, f"{component}.{layer}", sizes, lora_sizes)
        return f"{component}.{layer}"
    return ""


def is_expanded(components: Mapping[str, torch.nn.Module]) -> bool:
    """Return whether diffusers has expanded a layer of a component."""
    return any(getattr(part, _ORIGINALS, None) for part in components.values())


def unload_loras(pipe: Any, components: Mapping[str, torch.nn.Module]) -> None:
    """Unload all LoRAs of a pipeline, and restore the layers that one has expanded."""
    expanded = [part for part in components.values() if is_expanded({"": part})]
    for part in expanded:
        _move_originals(part)
    pipe.unload_lora_weights(**({"reset_to_overwritten_params": True} if expanded else {}))
    for part in expanded:
        delattr(part, _ORIGINALS)


def _move_originals(component: torch.nn.Module) -> None:
    """Move the original weights to where the model is now, which does not move them itself."""
    originals: dict[str, torch.Tensor] = getattr(component, _ORIGINALS)
    for name, original in originals.items():
        layer, _, weight = name.rpartition(".")
        current = getattr(component.get_submodule(layer), weight)
        originals[name] = original.to(current.device, current.dtype)


def _layer_sizes(component: torch.nn.Module, layer: str) -> tuple[int, int] | None:
    """Return how many numbers a linear layer takes and returns; None for other layers, which are never expanded."""
    try:
        module = component.get_submodule(layer)
    except AttributeError:
        return None
    sizes = (getattr(module, "in_features", None), getattr(module, "out_features", None))
    return (sizes[0], sizes[1]) if isinstance(sizes[0], int) and isinstance(sizes[1], int) else None


def _check_control_channels(pipe: Any, layer: str, sizes: tuple[int, int], lora_sizes: tuple[int, int]) -> None:
    """Check that a pipeline takes control images in further channels.

    Raises:
        ValueError: It does not.
    """
    catalog = load_catalog()
    entry = catalog.pipelines.get(type(pipe).__name__)
    if entry is not None and has_control_channels(entry):
        return
    names = control_channel_pipelines(entry, catalog.pipelines.values()) if entry else []
    hint = f"; a LoRA for control images needs `pipeline: {names[0]}`" if names else ""
    actual, expected = ("x".join(map(str, each)) for each in (lora_sizes, sizes))
    raise ValueError(f"it is for a layer {layer} of size {actual}, and the model's is {expected}{hint}")
