"""Which accelerator of this machine a model is loaded on, found out without torch in the server's process."""

from __future__ import annotations

import asyncio
import logging
import math
import sys
from collections import Counter
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from pathlib import Path

from octabox.config.model import ModelConfig
from octabox.engine.local.forkserver import ProcessStarter
from octabox.engine.local.processes import ProcessEndedError, ask_process, in_daemon_thread
from octabox.engine.messages import BadFork, DeviceMemory, Survey
from octabox.engine.worker.entry import survey as work
from octabox.types import ACCELERATOR

#: Seconds for finding out which accelerators there are; the fork server may still be importing its libraries.
SURVEY_TIMEOUT = 300.0

logger = logging.getLogger("octabox.engine")


class DevicePool:
    """The accelerators of this machine, and how much of each is taken by models that are being loaded.

    A short-lived process asks torch for them: its contexts on the devices vanish with it. Where there are several, each load
    asks again for their free memory.

    Args:
        processes: Starts that process; where that is forked and finds accelerators that it cannot use, all are spawned.
        timeout: Seconds to wait for it, its start included: the fork server that makes it may not answer.
    """

    def __init__(self, processes: ProcessStarter, timeout: float = 1800.0) -> None:
        self._processes, self._timeout = processes, timeout
        self._known: Survey | None = None
        self._choosing = asyncio.Lock()
        self._loading: Counter[str] = Counter()
        self._wholly: Counter[str] = Counter()

    @asynccontextmanager
    async def assigned(
        self, model: ModelConfig, requested: str | None, in_use: Collection[str]
    ) -> AsyncIterator[str | None]:
        """Choose a device for a model, and count the model as a part of its memory within the context.

        Args:
            model: The model.
            requested: Device that was asked for, such as ``cuda:1``; a type without an index is any device of the type.
            in_use: Devices of the models in memory.

        Yields:
            The device; None leaves the choice to the worker.
        """
        async with self._choosing:
            size = await asyncio.to_thread(size_on_disk, model)
            device = await self._choose(requested, in_use)
            self._take(device, size, 1)
        try:
            yield device
        finally:
            self._take(device, size, -1)

    def _take(self, device: str | None, size: int | None, sign: int) -> None:
        """Count a model that is being loaded, or no longer is; one of unknown size takes the whole device."""
        if device is not None and size is None:
            self._wholly[device] += sign
        elif device is not None and size is not None:
            self._loading[device] += sign * size

    async def _choose(self, requested: str | None, in_use: Collection[str]) -> str | None:
        """Return the device with the most free memory of those that were asked for."""
        if requested is not None and requested.partition(":")[0] == "cpu":
            return "cpu"
        # A Mac has one accelerator at most, and no fork server that would have to be tried out.
        if (requested is not None and ":" in requested) or sys.platform == "darwin":
            return requested
        survey = await self._survey()
        if survey.problem:
            return requested
        devices = [each for each in survey.devices if requested in (None, ACCELERATOR, each.name.partition(":")[0])]
        if not devices:
            return requested or "cpu"  # The worker refuses a device that is not here, and lists those that are.
        taken = Counter(in_use)
        return max(devices, key=lambda each: (self._free(each), -taken[each.name])).name

    def _free(self, device: DeviceMemory) -> float:
        """Return how many bytes of a device will be free once the models that are being loaded are there."""
        free = math.inf if device.free is None else device.free
        return -self._wholly[device.name] if self._wholly[device.name] else free - self._loading[device.name]

    async def _survey(self) -> Survey:
        """Return the accelerators, with their free memory where there are several."""
        if self._known is None or len(self._known.devices) > 1:
            self._known = await asyncio.wait_for(in_daemon_thread(self._ask), self._timeout)
        return self._known

    def _ask(self) -> Survey:
        """Let a process find out which accelerators there are."""
        try:
            answer = ask_process(self._processes.context, work, timeout=SURVEY_TIMEOUT)
            if isinstance(answer, BadFork):
                report, answer = answer, ask_process(ProcessStarter(spawns=True).context, work, timeout=SURVEY_TIMEOUT)
                # Where there is no accelerator, a fork that cannot use one lacks nothing.
                if answer.devices or answer.problem:
                    self._processes.use_spawn(report)
        except (ProcessEndedError, OSError) as error:
            answer = Survey(problem=f"the process that looked for them {error}")
        assert isinstance(answer, Survey)  # noqa: S101 (the process says nothing else)
        if answer.problem:
            logger.warning("The accelerators could not be found out, so models share the first: %s", answer.problem)
        return answer


def size_on_disk(model: ModelConfig) -> int | None:
    """Return the bytes of a model's files, which is about what its weights take; None where they are not here."""
    path = Path(model.model)
    if path.is_file():
        return path.stat().st_size
    if not path.is_dir():
        return None
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
