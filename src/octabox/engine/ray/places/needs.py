"""What the replicas of models need of a node, by the headers of their files."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping

from octabox.config.model import ACCELERATOR, ModelConfig
from octabox.engine.local.devices import size_on_disk
from octabox.engine.memory.estimate import weight_bytes
from octabox.engine.ray.node_options import accelerator_limit
from octabox.engine.ray.resources import ReplicaNeed, Resources, device_type, needed_bytes, replica_need


async def need_of(
    model: ModelConfig, default_device: str | None, dtype: str, limits: Mapping[str, int], nodes: Collection[Resources]
) -> ReplicaNeed:
    """Return what a replica of a model needs of a node.

    Args:
        model: Its configuration.
        default_device: Device of models that name none.
        dtype: Dtype of models that configure none.
        limits: Bytes that models may use, by type of device.
        nodes: The resources of each node.
    """
    device = device_type(next(iter(model.device_names), None) or model.device or default_device)
    weights = await asyncio.to_thread(size_on_disk, model)
    needed, least = await asyncio.to_thread(_bytes_needed, model, device, dtype)
    return replica_need(device, weights, nodes, needed, accelerator_limit(limits, device), model.device_count, least)


def _bytes_needed(model: ModelConfig, device: str | None, dtype: str) -> tuple[int | None, int]:
    """Return how many bytes a replica needs on an accelerator, and without how many it cannot be loaded there.

    They are None and 0 where its weights are not on this machine. One that offloads needs its largest component there.
    """
    kind = "cuda" if device in (None, ACCELERATOR) else device  # Any accelerator has the same dtypes.
    try:
        sizes = weight_bytes(model, kind, dtype)
    except (OSError, ValueError):
        return None, 0  # The load reports what is wrong with its files.
    if not sizes:
        return None, 0
    total, stays = sum(sizes.values()), model.memory == "full" or model.parallel is not None
    held = total if stays or model.memory == "auto" else max(sizes.values())
    return needed_bytes(held), total if stays else 0
