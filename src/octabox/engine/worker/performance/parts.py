"""Which parts of a loaded model performance settings are for."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import torch

from octabox.engine.worker.component_types import unpack_components
from octabox.engine.worker.steps import TIMESTEP_PARAMETERS

#: Dtypes of weights that are plain numbers; others are packed, or kept small between uses.
PLAIN_DTYPES = frozenset({torch.float32, torch.float16, torch.bfloat16})


def find_modules(components: Mapping[str, Any]) -> dict[str, torch.nn.Module]:
    """Return the components that have weights, by name; of a list of them each by its place."""
    found: dict[str, torch.nn.Module] = {}
    for name, component in components.items():
        parts = [part for part in unpack_components(component) if isinstance(part, torch.nn.Module)]
        found |= {name if len(parts) == 1 else f"{name}.{place}": part for place, part in enumerate(parts)}
    return found


def find_denoisers(modules: Mapping[str, torch.nn.Module]) -> dict[str, torch.nn.Module]:
    """Return the modules whose forward pass is given how noisy its input is."""
    return {
        name: module
        for name, module in modules.items()
        if set(inspect.signature(type(module).forward).parameters) & TIMESTEP_PARAMETERS
    }


def has_plain_weights(module: torch.nn.Module) -> bool:
    """Return whether all weights of a module are plain numbers that are in memory."""
    return all(
        weight.dtype in PLAIN_DTYPES and type(weight) is torch.nn.Parameter and weight.device.type != "meta"
        for weight in module.parameters()
    )
