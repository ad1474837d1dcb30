"""How weights lie in memory: convolutions with the channels last, and projections of attention as one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch

from octabox.engine.worker.performance.modules import has_plain_weights

#: Modules that attention adds when its projections are fused.
FUSED_LAYERS = ("to_qkv", "to_kv", "to_added_qkv")


def use_channels_last(modules: Mapping[str, torch.nn.Module]) -> list[str]:
    """Lay the weights of all two-dimensional convolutions out with the channels last; return whose there were any."""
    changed = []
    for name, module in modules.items():
        weights = [each.weight for each in module.modules() if isinstance(each, torch.nn.Conv2d)]
        for weight in weights:
            weight.data = weight.data.to(memory_format=torch.channels_last)
        if weights:
            changed.append(name)
    return changed


def fuse_projections(modules: Mapping[str, torch.nn.Module]) -> tuple[list[str], dict[str, str]]:
    """Let attention compute its projections as one where a model offers it.

    Returns:
        The names of the modules that do so now, and why others that offer it do not.
    """
    fused, reasons = [], {}
    for name, module in modules.items():
        fuse = getattr(module, "fuse_qkv_projections", None)
        if not callable(fuse):
            continue
        if not has_plain_weights(module):
            reasons[name] = f"the weights of {name} are packed or kept elsewhere"
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
    """Let attention compute its projections one by one again, and free what was added for that."""
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
