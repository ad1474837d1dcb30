"""The outcome of a load, and the wait for it."""

from __future__ import annotations

import asyncio

from octabox.engine.messages import BadFork, Loaded
from octabox.errors import LoadError, OctaboxError

#: What a load ends with.
Outcome = Loaded | BadFork | OctaboxError


class LoadOutcome:
    """The outcome of a worker's load, in two parts: the weights are read, then torch prepares the first call."""

    def __init__(self) -> None:
        self._outcome: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._weights_loaded = asyncio.Event()

    def resolve(self, outcome: Outcome) -> None:
        """End the wait; the first outcome counts."""
        self._weights_loaded.set()
        if not self._outcome.done():
            self._outcome.set_result(outcome)

    def note_weights(self) -> None:
        """Note that the weights are in memory."""
        self._weights_loaded.set()

    async def wait(self, timeout: float, progress_timeout: float) -> Loaded | BadFork:
        """Wait for the outcome, and return it.

        Args:
            timeout: Seconds until the weights are in memory.
            progress_timeout: Seconds for what follows, which is work of torch like that of a call, such as compiling; 0 means
                any number of them.

        Raises:
            TimeoutError: The weights were not in memory in time.
            LoadError: What follows took too long.
            OctaboxError: The model cannot be loaded.
        """
        await asyncio.wait_for(self._weights_loaded.wait(), timeout)
        try:
            outcome = await asyncio.wait_for(asyncio.shield(self._outcome), progress_timeout or None)
        except asyncio.TimeoutError:
            raise LoadError(
                f"The model has been read, but was not compiled within {progress_timeout:g} seconds.",
                hint="Raise `progress_timeout`, or set `performance: {compile: off}`.",
            ) from None
        if isinstance(outcome, OctaboxError):
            raise outcome
        return outcome
