"""Have a worker move the weights of its model to the host, and back to its device."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Protocol

from octabox.engine.messages import Sleep, ToWorker, WakeUp, WeightsMoved
from octabox.errors import OctaboxError, WorkerDiedError

logger = logging.getLogger("octabox.engine")


class Process(Protocol):
    """A worker process; see `WorkerProcess`."""

    @property
    def alive(self) -> bool:
        """Whether the process is not known to have ended."""

    async def send(self, message: ToWorker) -> None:
        """Send a message."""


class WeightMoves:
    """Where the weights of a worker are: on its device, or on the host until they are needed.

    Args:
        model: Name of the model.
    """

    def __init__(self, model: str) -> None:
        self._model = model
        #: Whether they are on the host, or some of them may be, so that they must be moved back before a call.
        self.asleep = False
        #: Seconds that they took to the host and back, the last time; None if they were not there.
        self.seconds: float | None = None
        self._sleep_seconds = 0.0
        self._answer: asyncio.Future[OctaboxError | None] | None = None
        self._number = 0  # Of the last request: an earlier one that nobody waits for any more may be answered late.

    @property
    def moving(self) -> bool:
        """Whether they are being moved."""
        return self._answer is not None

    async def sleep(self, process: Process | None, timeout: float) -> bool:
        """Have an idle process move them to the host; return whether all are there now.

        Args:
            process: The process.
            timeout: Seconds that this may take.
        """
        self.asleep = True
        try:
            self._sleep_seconds = await self._move(process, Sleep(self._next()), timeout)
        except (OctaboxError, asyncio.TimeoutError) as error:
            logger.info("The weights of %s are not kept on the host: %s", self._model, error)
            return False
        return True

    async def wake_up(self, process: Process | None, occupied: int, timeout: float) -> bool:
        """Have the process move them back to the device; return whether they are there. If not, the process is of no use.

        Args:
            process: The process.
            occupied: Bytes that other models hold on the device.
            timeout: Seconds that this may take.
        """
        self.asleep = False
        try:
            wake_seconds = await self._move(process, WakeUp(occupied, self._next()), timeout)
        except (OctaboxError, asyncio.TimeoutError) as error:
            logger.warning("%s is loaded again, since its weights could not be moved back: %s", self._model, error)
            return False
        self.seconds = self._sleep_seconds + wake_seconds
        return True

    def answer(self, message: WeightsMoved) -> None:
        """Take an answer of the process; one to an earlier request is not that to the last one."""
        if message.number == self._number:
            self.resolve(message.error)

    def resolve(self, error: OctaboxError | None) -> None:
        """End the wait for the answer, with the error that the process ended with, if it did."""
        if self._answer and not self._answer.done():
            self._answer.set_result(error)

    def _next(self) -> int:
        """Return the number of the next request."""
        self._number += 1
        return self._number

    async def _move(self, process: Process | None, message: Sleep | WakeUp, timeout: float) -> float:
        """Send a message, wait for the answer, and return the seconds that it took."""
        began = time.perf_counter()
        if process is None or not process.alive:
            raise WorkerDiedError("The worker process has ended.", model=self._model)
        self._answer = asyncio.get_running_loop().create_future()
        try:
            await process.send(message)
            error = await asyncio.wait_for(asyncio.shield(self._answer), timeout)
        finally:
            self._answer = None
        if error is not None:
            raise error
        return time.perf_counter() - began
