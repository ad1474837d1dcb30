"""The accelerators of this machine, and which one a model is loaded on; the server itself does not import torch."""

from __future__ import annotations

import asyncio
import logging
import math
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

from octabox.config.model import ACCELERATOR, ModelConfig
from octabox.engine.cluster.placement import Placement
from octabox.engine.local.processes.forkserver import ProcessStarter
from octabox.engine.local.processes.starting import ProcessEndedError, ask_process, in_daemon_thread
from octabox.engine.local.resident.places import choose_companions, find_place
from octabox.engine.local.resident.room import ResidentModel
from octabox.engine.messages import BadFork, DeviceMemory, Survey
from octabox.engine.worker.entry import survey, survey_free

#: Seconds for the search for accelerators; the fork server may still be importing its libraries.
SURVEY_TIMEOUT = 300.0

#: Seconds for listing a model's files.
SIZE_TIMEOUT = 30.0

#: Bytes that are taken to be free on a device that does not report it.
UNKNOWN_FREE = 2**60

logger = logging.getLogger("octabox.engine")


class Accelerators:
    """The accelerators of this machine.

    A short process queries torch for them, so that its contexts on the devices end with it.

    Args:
        processes: Makes that process; where it is forked and finds accelerators that it cannot use, all are spawned.
        timeout: Seconds to wait for it, its start included, since the fork server may not answer.
    """

    def __init__(self, processes: ProcessStarter, timeout: float) -> None:
        self._processes, self._timeout = processes, timeout
        self._known: Survey | None = None
        self._unreported: set[str] = set()

    @property
    def several(self) -> bool:
        """Whether there are several accelerators, as far as is known."""
        return self._known is not None and len(self._known.devices) > 1

    async def _survey(self) -> Survey:
        """Return the accelerators, with their free memory where there are several."""
        if self._known is None or len(self._known.devices) > 1:
            found = await asyncio.wait_for(in_daemon_thread(self.ask), self._timeout)
            if not found.problem or self._known is None:
                self._known = found
        return self._known

    async def names(self) -> list[str] | None:
        """Return the names of the accelerators; None where they cannot be listed, or not in time."""
        try:
            found = await self._survey()
        except asyncio.TimeoutError:
            logger.warning("The accelerators cannot be listed in %g seconds", self._timeout)
            return None
        return None if found.problem else [each.name for each in found.devices]

    async def free(self, device: str) -> int | None:
        """Return the free bytes of a device, which a short process reads; None if they are not known."""
        if device in self._unreported:
            return None
        try:
            found = await asyncio.wait_for(in_daemon_thread(partial(self.ask, survey_free)), self._timeout)
        except asyncio.TimeoutError:
            return None
        # Where processes are spawned, as on a Mac, each of these imports torch: a device that never reports is asked once.
        self._unreported.update(each.name for each in found.devices if not each.reports)
        return next((each.free for each in found.devices if each.name == device), None)

    async def report(self) -> Survey:
        """Return the accelerators, with the current free memory of those that report it."""
        if self._known is not None and not any(each.reports for each in self._known.devices):
            return self._known
        found = await asyncio.wait_for(in_daemon_thread(partial(self.ask, survey_free)), self._timeout)
        if not found.problem:  # What models are placed by must not be lost by a look at them.
            self._known = found
        return found

    def ask(self, work: Callable[[Connection], None] = survey) -> Survey:
        """Let a process look for accelerators, and return its report."""
        return ask_for_devices(self._processes, work)


class DevicePool(Accelerators):
    """The accelerators of this machine, and how much memory of each the models being loaded will take.

    Where there are several, each load queries their free memory again.

    Args:
        processes: As for `Accelerators`.
        timeout: Likewise.
        limits: Bytes that models may use, by place.
    """

    def __init__(
        self, processes: ProcessStarter, timeout: float = 1800.0, limits: Mapping[str, int] | None = None
    ) -> None:
        super().__init__(processes, timeout)
        self._limits = limits or {}
        self._lock = asyncio.Lock()
        self._loading: Counter[str] = Counter()
        self._unsized: Counter[str] = Counter()

    @asynccontextmanager
    async def assigned(
        self,
        model: ModelConfig,
        requested: str | None,
        residents: Collection[ResidentModel],
        excluded: Collection[str] = (),
    ) -> AsyncIterator[str | None]:
        """Choose a device for a model, and count the model in that device's memory within the context.

        Args:
            model: The model.
            requested: Requested device, such as ``cuda:1``; a type without an index is any device of the type.
            residents: The other models in memory.
            excluded: Devices that it must not be on, while there is another one.

        Yields:
            The device; None leaves the choice to the worker.
        """
        async with self._lock:
            size = await _size_in_time(model)
            device = await self._choose(requested, residents, size, excluded)
            self._take(device, size, 1)
        try:
            yield device
        finally:
            self._take(device, size, -1)

    @asynccontextmanager
    async def companions(
        self,
        model: ModelConfig,
        device: str | None,
        requested: str | None,
        residents: Collection[ResidentModel],
        excluded: Collection[str] = (),
    ) -> AsyncIterator[tuple[str, ...]]:
        """Choose the other devices of a model that is split over several, and count it in their memory within the context.

        Args:
            model: The model.
            device: Its first device; None leaves the choice of all to the worker.
            requested: As for `assigned`, as are the rest.
            residents: The other models in memory.
            excluded: Devices that it must not be on.

        Yields:
            The other devices; none for a model on one device.

        Raises:
            LoadError: There are fewer devices.
        """
        if model.device_count == 1 or device is None:
            yield ()
            return
        async with self._lock:
            size = await _size_in_time(model)
            others = await self._find(device.partition(":")[0])
            left = {each.name: each for each in others if each.name not in (device, *excluded)}

            def choose(names: Collection[str]) -> str:
                devices = [left[name] for name in names]
                place = self._place(devices, residents, size or 0)
                return place.device if place else max(devices, key=self._free).name

            found = choose_companions(model, device, requested, left, choose)
            for each in found:
                self._take(each, size, 1)
        try:
            yield found
        finally:
            for each in found:
                self._take(each, size, -1)

    def _take(self, device: str | None, size: int | None, sign: int) -> None:
        """Add (1) or remove (-1) a model that is being loaded; one of unknown size takes the complete device."""
        if device is not None and size is None:
            self._unsized[device] += sign
        elif device is not None and size is not None:
            self._loading[device] += sign * size

    async def alternatives(self, requested: str | None, excluded: Collection[str]) -> list[str]:
        """Return the devices that a requested one may be, without these."""
        return [each.name for each in await self._find(requested) if each.name not in excluded]

    async def find_place(
        self, requested: str | None, size: int, residents: Collection[ResidentModel], excluded: Collection[str]
    ) -> Placement | None:
        """Return the device that a requested one may be where so many bytes cost least; None if none can have them free."""
        found = [each for each in await self._find(requested) if each.name not in excluded]
        return self._place(found, residents, size)

    async def _choose(
        self,
        requested: str | None,
        residents: Collection[ResidentModel],
        size: int | None,
        excluded: Collection[str],
    ) -> str | None:
        """Return the device where a model costs least; where none can have room for it, that with the most free memory."""
        if requested is not None and requested.partition(":")[0] == "cpu":
            return "cpu"
        found = await self._find(requested)
        devices = [each for each in found if each.name not in excluded] or found
        if not devices:
            none = requested is None and self._known is not None and not self._known.problem
            # The worker refuses a device that does not exist, and lists those that do.
            return "cpu" if none else requested
        place = self._place(devices, residents, size or 0)
        return place.device if place else max(devices, key=self._free).name

    async def _find(self, requested: str | None) -> list[DeviceMemory]:
        """Return the accelerators that a requested device may be; none where it is one itself, or cannot be looked for."""
        if requested is not None and (":" in requested or requested == "cpu"):
            return []
        found = await self._survey()
        if found.problem:
            return []
        return [each for each in found.devices if requested in (None, ACCELERATOR, each.name.partition(":")[0])]

    def _place(
        self, devices: Iterable[DeviceMemory], residents: Collection[ResidentModel], size: int
    ) -> Placement | None:
        """Return which of the devices a model of a size is loaded on; None if none can have room for it."""
        free = {each.name: max(0, int(min(self._free(each), UNKNOWN_FREE))) for each in devices}
        return find_place(free, residents, size, self._limits)

    def _free(self, device: DeviceMemory) -> float:
        """Return how many bytes of a device will be free once the models being loaded are on it."""
        free = math.inf if device.free is None else device.free
        return -self._unsized[device.name] if self._unsized[device.name] else free - self._loading[device.name]


def ask_for_devices(processes: ProcessStarter, work: Callable[[Connection], None]) -> Survey:
    """Return the report of a process on the accelerators, or why it has none.

    Args:
        processes: Makes the process; where it is forked and finds accelerators that it cannot use, it is spawned from then on.
        work: What the process runs.
    """
    try:
        answer = ask_process(processes.context, work, timeout=SURVEY_TIMEOUT)
        if isinstance(answer, BadFork):
            report, answer = answer, ask_process(ProcessStarter(spawns=True).context, work, timeout=SURVEY_TIMEOUT)
            # Where there is no accelerator, a fork that cannot use one does no harm.
            if answer.devices or answer.problem:
                processes.use_spawn(report)
    except (ProcessEndedError, OSError) as error:
        answer = Survey(problem=f"the process that looked for them {error}")
    assert isinstance(answer, Survey)  # noqa: S101 (the process sends nothing else)
    if answer.problem:
        logger.warning("The accelerators cannot be listed, so all models use the first one: %s", answer.problem)
    return answer


async def _size_in_time(model: ModelConfig) -> int | None:
    """Return the size of a model's files; None where the file system does not answer in time."""
    try:
        return await asyncio.wait_for(in_daemon_thread(lambda: size_on_disk(model)), SIZE_TIMEOUT)
    except asyncio.TimeoutError:
        logger.warning("The files of model '%s' cannot be listed in %g seconds", model.name, SIZE_TIMEOUT)
        return None


def size_on_disk(model: ModelConfig) -> int | None:
    """Return the size of a model's files, which is about that of its weights; None if they are not on this machine."""
    path = Path(model.model)
    if path.is_file():
        return path.stat().st_size
    if not path.is_dir():
        return None
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
