"""Which models are in memory, and which one makes room for another."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Iterable
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from octabox.config.model import ModelConfig
from octabox.errors import CapacityError, OutOfMemoryError

logger = logging.getLogger("octabox.engine")


class ResidentModel(Protocol):
    """A model that may be in memory."""

    name: str
    #: When it last served a request, in seconds since the epoch.
    last_used: float

    @property
    def resident(self) -> bool:
        """Whether it is in memory, or being loaded."""

    @property
    def idle(self) -> bool:
        """Whether it is in memory, and no request waits for it or runs on it."""

    @property
    def device(self) -> str | None:
        """The device that it is on, or is being loaded on; None while that is not known."""

    async def unload(self) -> bool:
        """Unload it once it is idle; return whether it was in memory."""


class Devices(Protocol):
    """Chooses the device of each model that is loaded."""

    def assigned(
        self, model: ModelConfig, requested: str | None, in_use: Collection[str]
    ) -> AbstractAsyncContextManager[str | None]:
        """Choose a device for a model, and count the model in that device's memory within the context."""


class Residency:
    """The models in memory. Where there is no room for another one, the model that was idle longest is unloaded.

    Args:
        devices: Chooses the device of each model.
        max_resident: How many models may be in memory together; 0 is no limit.
        device: Device of models that name none.
        timeout: Seconds that a load waits for room; None is no limit.
    """

    def __init__(
        self, devices: Devices, max_resident: int = 0, device: str | None = None, timeout: float | None = None
    ) -> None:
        self._devices, self._max_resident, self._device, self._timeout = devices, max_resident, device, timeout
        self._models: dict[str, ResidentModel] = {}
        self._admitted: set[str] = set()  # Models that are about to be loaded.
        self._freed = asyncio.Event()

    def add(self, model: ResidentModel) -> None:
        """Add a model that may be loaded."""
        self._models[model.name] = model

    async def load(self, name: str, model: ModelConfig, load: Callable[[ModelConfig], Awaitable[None]]) -> None:
        """Make room for a model, choose its device, and load it there.

        Where memory runs out, the model on that device that was idle longest is unloaded, and the load is repeated once.

        Args:
            name: Name of the model.
            model: Its configuration.
            load: Loads a configuration.
        """
        await self._make_room(name)
        self._admitted.add(name)
        requested = model.device or self._device
        in_use = [other.device for other in self._others(name) if other.device]
        try:
            async with self._devices.assigned(model, requested, in_use) as device:
                placed = model if device is None else model.model_copy(update={"device": device})
                try:
                    await load(placed)
                except OutOfMemoryError as error:
                    evicted = _longest_idle(each for each in self._others(name) if device in (None, each.device))
                    if evicted is None:
                        raise
                    logger.warning("%s: %s is unloaded, and the load is repeated once", error.message, evicted.name)
                    await evicted.unload()
                    await load(placed)
        finally:
            self._admitted.discard(name)
            self.notify_freed()

    def notify_freed(self) -> None:
        """Wake the loads that wait for room, since a model has become idle or has left memory."""
        self._freed.set()
        self._freed = asyncio.Event()

    async def _make_room(self, name: str) -> None:
        """Unload models, longest idle first, until one more may be loaded; wait while all are busy.

        Raises:
            CapacityError: None became idle in time.
        """
        end = None if self._timeout is None else time.monotonic() + self._timeout
        while self._max_resident:
            resident = [each for each in self._others(name) if each.resident or each.name in self._admitted]
            if len(resident) < self._max_resident:
                return
            if evicted := _longest_idle(resident):
                await evicted.unload()
            else:
                try:
                    await asyncio.wait_for(self._freed.wait(), None if end is None else end - time.monotonic())
                except asyncio.TimeoutError:
                    raise _no_room(name, self._max_resident) from None

    def _others(self, name: str) -> list[ResidentModel]:
        """Return all models but one."""
        return [each for each in self._models.values() if each.name != name]


def _no_room(model: str, limit: int) -> CapacityError:
    message = f"There was no room for model '{model}': the {limit} models in memory did not become idle in time."
    return CapacityError(message, hint="Try again later, or raise `max_resident`.", model=model)


def _longest_idle(models: Iterable[ResidentModel]) -> ResidentModel | None:
    """Return the model that was idle longest; None if none is idle."""
    return min((each for each in models if each.idle), key=lambda each: each.last_used, default=None)
