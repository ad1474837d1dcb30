"""On which device a model is loaded, and on which one after that has failed."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Collection

from octabox.config.model import ModelConfig
from octabox.engine.local.resident.room import Devices
from octabox.errors import CapacityError, DeviceError

logger = logging.getLogger("octabox.engine")


class DeviceLoads:
    """Loads models on devices, and on another one where that fails.

    Args:
        devices: Chooses the device of each model.
        device: Device of models that name none.
        full: Returns whether no further model may be in memory.
    """

    def __init__(self, devices: Devices, device: str | None, full: Callable[[], bool]) -> None:
        self._devices, self._device, self._full = devices, device, full

    @property
    def several_devices(self) -> bool:
        """Whether this machine is known to have several accelerators."""
        return self._devices.several

    async def has_room(self, model: ModelConfig, size: int, excluded: Collection[str]) -> bool:
        """Return whether another replica of a model has room without unloading a model.

        Args:
            model: Its configuration.
            size: Bytes that it needs on its device.
            excluded: Devices that it must not be on.
        """
        return not self._full() and await self._devices.has_room(model.device or self._device, size, excluded)

    async def load(
        self,
        name: str,
        model: ModelConfig,
        in_use: Collection[str],
        occupied: Collection[str],
        load: Callable[[ModelConfig], Awaitable[None]],
        sleeps_on: str | None = None,
    ) -> tuple[str, ...]:
        """Choose a device for a model, and load it there; where the device fails or has no room, on another one.

        A model that sleeps wakes up on its device, if possible, which takes less time than a load.

        Args:
            name: Name of the model.
            model: Its configuration.
            in_use: Devices of the models in memory.
            occupied: Devices that hold other replicas of it.
            load: Loads a configuration, which names the device.
            sleeps_on: The device that it has left, and its process uses; None if it does not sleep.

        Returns:
            Warnings: which devices it could not be loaded on.
        """
        requested, failed = model.device or self._device, dict[str, str]()
        while True:
            excluded = (*occupied, *failed)
            first = requested if sleeps_on is None or failed else sleeps_on
            async with self._devices.assigned(model, first, in_use, excluded) as device:
                try:
                    await load(model if device is None else model.model_copy(update={"device": device}))
                except (CapacityError, DeviceError) as error:
                    if device is None or not await self._devices.alternatives(requested, (*excluded, device)):
                        raise
                    failed[device] = f"Model '{name}' is loaded on another device than {device}: {error.message}"
                    logger.warning("%s", failed[device])
                else:
                    return tuple(failed.values())
