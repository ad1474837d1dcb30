"""Memory layout of weights: channels-last convolutions and fused attention projections."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch

from octabox.engine.worker.performance.modules import has_dense_weights

#: Layers that an attention module adds when its projections are fused.
FUSED_LAYERS = ("to_qkv", "to_kv", "to_added_qkv")


def use_channels_last(modules: Mapping[str, torch.nn.Module]) -> list[str]:
    """Convert the weights of two-dimensional convolutions to channels last; return the names of the modules with any."""
    changed = []
    for name, module in modules.items():
        weights = [each.weight for each in module.modules() if isinstance(each, torch.nn.Conv2d)]
        for weight in weights:
            weight.data = weight.data.to(memory_format=torch.channels_last)
        if weights:
            changed.append(name)
    return changed


def fuse_projections(modules: Mapping[str, torch.nn.Module]) -> tuple[list[str], dict[str, str]]:
    """Fuse the attention projections of modules that support it.

    Returns:
        The names of the modules with fused projections, and the reasons why others failed.
    """
    fused, reasons = [], {}
    for name, module in modules.items():
        fuse = getattr(module, "fuse_qkv_projections", None)
        if not callable(fuse):
            continue
        if not has_dense_weights(module):
            reasons[name] = f"the weights of {name} are quantized or offloaded"
            continue
        try:
            fuse()
        except (ValueError, AttributeError, RuntimeError) as error:
            split_projections([module])
            reasons[name] = f"{name}: {error}"
            continue
        if any(getattr(each, "fused_projections", False) for each in module.modules()):
            fused.append(name)
    return fused, reasons


def split_projections(modules: Iterable[Any]) -> None:
    """Undo fused projections and free the fused layers."""
    for module in modules:
        if getattr(module, "original_attn_processors", True) is not None:
            module.unfuse_qkv_projections()
        for layer in module.modules():
            if not hasattr(layer, "fused_projections"):
                continue
            layer.fused_projections = False
            for name in FUSED_LAYERS:
                if isinstance(getattr(layer, name, None), torch.nn.Module):
                    delattr(layer, name)
