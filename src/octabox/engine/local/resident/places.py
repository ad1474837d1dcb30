"""On which accelerators of this machine a model costs least."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from octabox.config.memory.limits import limit_of
from octabox.config.model import ModelConfig
from octabox.engine.cluster.index import ClusterIndex
from octabox.engine.cluster.placement import Placement, choose_device
from octabox.engine.cluster.state import Device, Replica
from octabox.engine.local.resident.room import ResidentModel, as_replica
from octabox.engine.parallel_devices import too_few_devices

#: Device of processes without an accelerator, of which there are any number.
CPU = "cpu"


def find_place(
    free: Mapping[str, int], residents: Collection[ResidentModel], size: int, limits: Mapping[str, int]
) -> Placement | None:
    """Return the device where a model costs least; None if none can have room for it.

    Of those that cost as much, it is the one with the most free memory, then the one with the fewest models.

    Args:
        free: Free bytes of the devices that it may be on.
        residents: The models in memory, of which idle ones may leave their devices.
        size: Bytes that it needs.
        limits: Bytes that models may use, by place.
    """
    index, by_name = ClusterIndex(), {each.name: each for each in residents if each.resident}
    for device, left in free.items():
        there = [each for each in by_name.values() if device == each.device or each.memory.get(device)]
        held = sum(each.memory.get(device, 0) for each in there)
        limit = limit_of(limits, device)
        total = held + left if limit is None else min(held + left, max(limit, held))
        wait = max((each.busy_seconds for each in there), default=0.0)
        until = wait or len(there) - left / 2**20
        index.put_device(Device(device, total, busy_until=until, working=wait > 0))
        for each in there:
            index.put(as_replica(each, device))

    def value(replica: Replica) -> float:
        return by_name[replica.name].keep_value

    return choose_device(index, "", size, 0.0, value, 0.0)


def choose_companions(
    model: ModelConfig,
    device: str,
    requested: str | None,
    others: Collection[str],
    choose: Callable[[Collection[str]], str],
) -> tuple[str, ...]:
    """Return the other devices of a model: those that it names, or those where it costs least.

    Args:
        model: The model.
        device: Its first device.
        requested: Requested device; the CPU must be requested.
        others: The devices that it may be on besides.
        choose: Returns that of some devices where it costs least.

    Raises:
        LoadError: There are fewer.
    """
    if model.device_names:
        return model.device_names[1:]
    count = model.device_count - 1
    if device == requested == CPU:
        return (CPU,) * count
    if len(others) < count:
        raise too_few_devices(model, [*(() if device == CPU else (device,)), *others])
    left, selected = list(others), list[str]()
    while len(selected) < count:
        selected.append(choose(left))
        left.remove(selected[-1])
    return tuple(selected)
