"""Which devices a model that is split over several is on, besides its first one."""

from __future__ import annotations

from collections.abc import Callable, Collection

from octabox.config.model import ModelConfig
from octabox.engine.parallel_devices import too_few_devices

#: Device of processes without an accelerator, of which there are any number.
CPU = "cpu"


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
