"""Find the modules of a loaded model that performance settings apply to."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import torch

from octabox.engine.worker.component_types import unpack_components
from octabox.engine.worker.steps import TIMESTEP_PARAMETERS

#: Dtypes of weights that are neither quantized nor stored in a smaller dtype.
DENSE_DTYPES = frozenset({torch.float32, torch.float16, torch.bfloat16})


def find_modules(components: Mapping[str, Any]) -> dict[str, torch.nn.Module]:
    """Return the components that are modules, by name; those of a list with their index."""
    modules: dict[str, torch.nn.Module] = {}
    for name, component in components.items():
        parts = [part for part in unpack_components(component) if isinstance(part, torch.nn.Module)]
        modules |= {name if len(parts) == 1 else f"{name}.{index}": part for index, part in enumerate(parts)}
    return modules


def find_denoisers(modules: Mapping[str, torch.nn.Module]) -> dict[str, torch.nn.Module]:
    """Return the modules whose forward pass takes a timestep."""
    return {
        name: module
        for name, module in modules.items()
        if set(inspect.signature(type(module).forward).parameters) & TIMESTEP_PARAMETERS
    }


def has_dense_weights(module: torch.nn.Module) -> bool:
    """Return whether no weight of a module is quantized or on the meta device."""
    return all(
        weight.dtype in DENSE_DTYPES and type(weight) is torch.nn.Parameter and weight.device.type != "meta"
        for weight in module.parameters()
    )
