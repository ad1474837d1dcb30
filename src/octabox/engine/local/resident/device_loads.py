"""On which device a model is loaded, and on which one after that has failed or is held by models in use."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field

from octabox.config.memory.limits import HOST
from octabox.config.model import ModelConfig
from octabox.engine.local.resident.room import Devices, InUseError, ResidentModel, wait_for_room
from octabox.errors import CapacityError, DeviceError

logger = logging.getLogger("octabox.engine")


@dataclass
class Attempt:
    """A load, on one device after another.

    Args:
        name: Name of the model.
        model: Its configuration.
        load: Loads a configuration, which names the device.
        occupied: Devices that hold other replicas of it.
        end: When no more room is waited for, by `time.monotonic`; None is never.
        sleeps_on: The device that it has left, and its process uses; None if it does not sleep.
        patience: Seconds for which it waits for that device before another one is tried.
        failed: Why it could not be loaded on devices.
        in_use: The devices that are held by models in use now, with what is known of that.
    """

    name: str
    model: ModelConfig
    load: Callable[[ModelConfig], Awaitable[None]]
    occupied: Collection[str] = ()
    end: float | None = None
    sleeps_on: str | None = None
    patience: float = 0.0
    failed: dict[str, str] = field(default_factory=dict)
    in_use: dict[str, InUseError] = field(default_factory=dict)

    @property
    def excluded(self) -> tuple[str, ...]:
        """Devices that are not tried now."""
        return (*self.occupied, *self.failed, *self.in_use)


class DeviceLoads:
    """Loads models on devices, and on another one where that fails.

    Args:
        devices: Chooses the device of each model.
        device: Device of models that name none.
        full: Returns whether no further model may be in memory.
        residents: Returns the models that may be in memory.
        freed: Returns what is set where a model becomes idle or leaves memory the next time.
    """

    def __init__(
        self,
        devices: Devices,
        device: str | None,
        full: Callable[[], bool],
        residents: Callable[[], Collection[ResidentModel]],
        freed: Callable[[], asyncio.Event],
    ) -> None:
        self._devices, self._device, self._full = devices, device, full
        self._residents, self._freed = residents, freed

    @property
    def several_devices(self) -> bool:
        """Whether this machine is known to have several accelerators."""
        return self._devices.several

    async def has_room(self, model: ModelConfig, size: int, excluded: Collection[str], value: float) -> bool:
        """Return whether another replica of a model has a place that costs no more than it is worth.

        Args:
            model: Its configuration.
            size: Bytes that it needs on its device.
            excluded: Devices that it must not be on.
            value: Seconds that it is worth.
        """
        if self._full():
            return False
        place = await self._devices.find_place(model.device or self._device, size, self._residents(), excluded)
        return place is not None and place.seconds <= value

    async def load(self, attempt: Attempt) -> tuple[str, ...]:
        """Choose a device for a model, and load it there; where the device fails or has no room, on another one.

        A model that sleeps wakes up on its device, if possible, which takes less time than a load. Where models in use hold
        all devices, it waits until one of them becomes idle.

        Args:
            attempt: The load.

        Returns:
            Warnings: which devices it could not be loaded on.

        Raises:
            CapacityError: No device has room for it in time.
            DeviceError: The last device has failed.
        """
        now = time.monotonic()
        patient_until = now + min(attempt.patience, math.inf if attempt.end is None else (attempt.end - now) / 2)
        while True:
            freed = self._freed()
            attempt.in_use.clear()
            if await self._load_now(attempt, patient_until):
                return tuple(attempt.failed.values())
            await self._wait(freed, attempt, patient_until)

    async def _load_now(self, attempt: Attempt, patient_until: float) -> bool:
        """Load a model on the first device that has room now; return whether one has."""
        while not await self._load_once(attempt):
            patient = attempt.sleeps_on in attempt.in_use and time.monotonic() < patient_until
            if attempt.in_use and (patient or not await self._others(attempt)):
                return False
        return True

    async def _wait(self, freed: asyncio.Event, attempt: Attempt, patient_until: float) -> None:
        """Wait until a device may have room, or until another one than that of a model that sleeps is to be tried.

        Raises:
            CapacityError: The time of the load is over.
        """
        end, error = attempt.end, next(iter(attempt.in_use.values())).error
        patient = attempt.sleeps_on in attempt.in_use and time.monotonic() < patient_until
        retry_at = patient_until if patient else math.inf
        for each in dict.fromkeys(attempt.in_use.values()):
            if (at := each.request_place()) is None:
                break  # Models make room there.
            retry_at = min(retry_at, at)
        await wait_for_room(freed, end, error, retry_at)

    async def _load_once(self, attempt: Attempt) -> bool:
        """Load a model on the next device; return whether it was loaded.

        Raises:
            CapacityError: It does not fit there, nor on another one.
            DeviceError: The device has failed, and there is no other one.
        """
        requested = self._requested(attempt.model)
        first = attempt.sleeps_on if attempt.sleeps_on not in (None, *attempt.failed, *attempt.in_use) else requested
        others = [each for each in self._residents() if each.name != attempt.name]
        model = attempt.model
        async with (
            self._devices.assigned(model, first, others, attempt.excluded) as device,
            self._devices.companions(model, device, requested, others, attempt.excluded) as companions,
        ):
            try:
                await attempt.load(model if device is None else model.placed_on(device, *companions))
            except InUseError as error:
                attempt.in_use[device or ""] = error
                if error.place == HOST:  # No other device helps.
                    attempt.in_use |= dict.fromkeys(await self._others(attempt), error)
                return False
            except (CapacityError, DeviceError) as error:
                others_left = device is not None and (attempt.in_use or await self._others(attempt, device))
                if device is None or not others_left:
                    raise
                attempt.failed[device] = (
                    f"Model '{attempt.name}' is loaded on another device than {device}: {error.message}"
                )
                logger.warning("%s", attempt.failed[device])
                return False
        return True

    async def _others(self, attempt: Attempt, *tried: str) -> list[str]:
        """Return the devices that were not tried; none where they are fewer than those that the model is split over."""
        left = await self._devices.alternatives(self._requested(attempt.model), (*attempt.excluded, *tried))
        return left if len(left) >= attempt.model.device_count else []

    def _requested(self, model: ModelConfig) -> str | None:
        """Return the device that a model is requested on, which is the first of those that it names."""
        return next(iter(model.device_names), None) or model.device or self._device
