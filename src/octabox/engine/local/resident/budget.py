"""How many bytes a model needs on its device and on the host, and how many are missing there."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from octabox.config.memory.limits import HOST, limit_of
from octabox.config.model import ModelConfig
from octabox.engine.memory.estimate import weight_bytes
from octabox.engine.memory.host import host_memory, reserve
from octabox.engine.memory.identity import loading_key
from octabox.engine.memory.learned import read_learned

logger = logging.getLogger("octabox.engine")

#: Bytes of a worker process without a model: the interpreter and its libraries.
PROCESS_BYTES = 400 * 2**20

#: No bytes, by place.
NOTHING: Mapping[str, int] = MappingProxyType({})

#: Place of a model's accelerator in what was learned, whatever its name is.
DEVICE = "device"


@dataclass(frozen=True)
class MemoryNeed:
    """The bytes that a model needs to be loaded, by place.

    Args:
        bytes: Bytes on the host and on its device.
        flexible: Places where it can do with less, by offloading.
    """

    bytes: Mapping[str, int] = field(default_factory=dict)
    flexible: frozenset[str] = frozenset()

    def on_device(self) -> MemoryNeed:
        """Return this without what is needed on the host."""
        return replace(self, bytes={place: size for place, size in self.bytes.items() if place != HOST})


@dataclass(frozen=True)
class Shortage:
    """A place without enough memory for a model.

    Args:
        place: ``host`` or a device.
        needed: Bytes that the model needs there.
        available: Bytes that it may use there.
        limited: Whether a limit of the settings is exceeded, rather than what is free.
        limit: That limit, of which other models may hold a part.
        loading: Whether it would be enough, if models that are being loaded did not take a part of it.
    """

    place: str
    needed: int
    available: int
    limited: bool
    limit: int = 0
    loading: bool = False

    @property
    def missing(self) -> int:
        """The bytes that the model lacks there."""
        return self.needed - self.available


def memory_need(model: ModelConfig, pipeline: str, device: str | None, dtype: str) -> MemoryNeed:
    """Return what a model needs: as measured in earlier loads, else computed from its files; nothing if neither is known.

    Args:
        model: The model's configuration.
        pipeline: Class that it is loaded as.
        device: The device that it will be on; None if it is not known, and with it neither the place nor the dtype.
        dtype: Dtype of models that configure none.
    """
    if device is None:
        return MemoryNeed()
    device_type = device.partition(":")[0]
    on_host = device_type == "cpu"
    learned = read_learned(loading_key(model, pipeline, device_type, dtype))
    mode = "full" if model.memory == "auto" else model.memory
    if held := learned.weights.get(mode):
        found = {HOST: held.get(HOST, 0)} | ({} if on_host else {device: held.get(DEVICE, 0)})
    else:
        sizes = weight_bytes(model, device, dtype)
        if sizes is None:
            return MemoryNeed()
        total, largest = sum(sizes.values()), max(sizes.values(), default=0)
        offloads = not on_host and mode != "full"
        found = {HOST: PROCESS_BYTES + (total if on_host or offloads else 0)}
        found |= {} if on_host else {device: largest if offloads else total}
    if model.parallel:
        # Each process has all weights, and none of them offloads.
        on_each = {} if on_host else dict.fromkeys(model.device_names or (device,), found[device])
        return MemoryNeed({HOST: found[HOST] * model.device_count, **on_each})
    return MemoryNeed(found, frozenset() if on_host or model.memory == "full" else frozenset({device}))


class MemoryBudget:
    """What models may use: the limits of the settings, or what is free less a reserve.

    Args:
        limits: Limits by place.
        host: Returns the available and the total bytes of the host, if they are known.
    """

    def __init__(self, limits: Mapping[str, int], host: Callable[[], tuple[int, int] | None] = host_memory) -> None:
        self._limits, self._host = limits, host

    def shortages(
        self,
        need: MemoryNeed,
        held: Iterable[Mapping[str, int]],
        free: Mapping[str, int],
        loading: Mapping[str, int] = NOTHING,
    ) -> list[Shortage]:
        """Return the places without enough memory, those with a limit first.

        Args:
            need: What the model needs.
            held: What each of the other models in memory holds, by place.
            free: Free bytes of devices, where they are known.
            loading: Bytes that models which are being loaded have not taken yet, by place.
        """
        used: Counter[str] = Counter()
        for each in held:
            used.update(each)
        found = []
        for place, needed in need.bytes.items():
            limit = limit_of(self._limits, place)
            available = self._free(place, free) if limit is None else max(0, limit - used[place])
            if available is None:
                continue
            left = max(0, available - loading.get(place, 0)) if limit is None else available
            if needed > available:
                found.append(Shortage(place, needed, available, limited=limit is not None, limit=limit or 0))
            elif needed > left:
                found.append(Shortage(place, needed, left, limited=False, loading=True))
        return sorted(found, key=lambda each: (not each.limited, each.loading))

    def host_takes(self, size: int, held: Iterable[Mapping[str, int]]) -> bool:
        """Return whether the host has room for weights that leave a device: twice their bytes, and within its limit.

        Args:
            size: Their bytes.
            held: What each model holds, or will hold.
        """
        free, limit = self._free(HOST, {}), limit_of(self._limits, HOST)
        if free is None or 2 * size > free:
            return False
        return limit is None or sum(each.get(HOST, 0) for each in held) + size <= limit

    def limit(self, place: str) -> int | None:
        """Return the limit of a place in the settings; None if it has none."""
        return limit_of(self._limits, place)

    def _free(self, place: str, free: Mapping[str, int]) -> int | None:
        """Return the free bytes of a place less its reserve; None if they are not known."""
        if place != HOST:
            # The worker leaves the reserve of a device, whose total it knows.
            return free.get(place)
        host = self._host()
        return None if host is None else max(0, host[0] - reserve(host[1]))
