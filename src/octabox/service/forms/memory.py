"""Estimate the memory of a model before it is loaded, and whether this machine has it."""

from __future__ import annotations

from typing import Any

from octabox.engine.memory.estimate import weight_bytes
from octabox.hub.browsing.memory import OVERHEAD, Machine, fits_bytes
from octabox.service.served_model import ServedModel


def estimate_memory(model: ServedModel, machine: Machine, device: str | None, dtype: str) -> dict[str, Any]:
    """Return the bytes of a model's weights by component and together, and whether they fit into the memory, as JSON.

    Args:
        model: The model. If its files are not on this machine, its bytes are None.
        machine: The memory of this machine.
        device: The device of models that configure none; None is the best one.
        dtype: The dtype of models that configure none.
    """
    default = device or ("cuda" if machine.accelerator else "cpu")
    found = weight_bytes(model.config, model.config.device or default, dtype)
    total = sum(found.values()) if found else None
    fits = fits_bytes(int(total * OVERHEAD), machine) if total else None
    return {"weights": dict(found) if found else None, "bytes": total, "memory": machine.bytes or None, "fits": fits}
