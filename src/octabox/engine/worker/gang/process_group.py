"""Join the process group of a gang, by which the processes exchange tensors."""

from __future__ import annotations

import os
import socket
from datetime import timedelta

import torch
from torch import distributed

from octabox.config.model import ACCELERATOR, ModelConfig
from octabox.engine.messages import Start
from octabox.engine.parallel_devices import too_few_devices
from octabox.engine.threads import default_threads
from octabox.engine.worker.placement.device import choose_device, device_names

#: Time that an operation of the group waits for the other processes, where the setting `progress_timeout` has no limit.
NO_LIMIT = timedelta(days=7)

#: Variable with the network interface of gloo, which by default is that of the host's name, and may be reached by others.
INTERFACE_VARIABLE = "GLOO_SOCKET_IFNAME"


def find_devices(model: ModelConfig, default: str | None) -> tuple[str, ...]:
    """Return the devices of a model that is split, the leader's first.

    Args:
        model: Its configuration.
        default: Device of models that name none.

    Raises:
        LoadError: There are fewer.
    """
    if model.device_names:
        return model.device_names
    requested, size = model.device or default, model.device_count
    if requested == "cpu":
        return ("cpu",) * size
    found = [each for each in device_names() if requested in (None, ACCELERATOR, each.partition(":")[0])]
    if len(found) < size:
        raise too_few_devices(model, found)
    return tuple(found[:size])


def join_process_group(start: Start, rank: int, store: str) -> None:
    """Join the process group of a gang, once all of its processes do.

    Args:
        start: What this process loads; its device is chosen.
        rank: Number of this process in the group.
        store: File by which the processes find each other.

    Raises:
        LoadError: The device is not available.
    """
    model = start.model
    device = torch.device(choose_device(model.device, model.name))
    if device.type == "cpu":
        # Otherwise each process would use all cores.
        torch.set_num_threads(max(1, (start.options.threads or default_threads()) // model.device_count))
    if loopback := next((name for _, name in socket.if_nameindex() if name.startswith("lo")), None):
        os.environ.setdefault(INTERFACE_VARIABLE, loopback)
    timeout = start.options.progress_timeout
    distributed.init_process_group(
        distributed.get_default_backend_for_device(device.type),
        store=distributed.FileStore(store, model.device_count),  # type: ignore[attr-defined]
        rank=rank,
        world_size=model.device_count,
        timeout=timedelta(seconds=timeout) if timeout else NO_LIMIT,
        device_id=None if device.type == "cpu" else device,
    )
