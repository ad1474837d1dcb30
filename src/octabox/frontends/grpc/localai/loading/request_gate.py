"""Who may work when: some requests at once, or one alone, all in the order in which they came."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TypeAlias

from octabox.errors import QueueFullError

#: What one that waits waits for.
Place: TypeAlias = "asyncio.Future[None]"


class RequestGate:
    """A line in which everyone waits for those before.

    Args:
        together: How many may work at once.
        waiting: How many may wait for that.
    """

    def __init__(self, together: int, waiting: int) -> None:
        self._together, self._most_waiting = together, waiting
        self._line: deque[tuple[Place, bool]] = deque()
        self._working, self._alone = 0, False

    @property
    def busy(self) -> bool:
        """Whether anyone works or waits."""
        return self._alone or self._working > 0 or bool(self._line)

    @asynccontextmanager
    async def shared(self) -> AsyncIterator[None]:
        """Work beside others.

        Raises:
            QueueFullError: Too many wait.
        """
        if len(self._line) >= self._most_waiting:
            message = f"The queue is full: {self._most_waiting} requests are waiting."
            raise QueueFullError(message, hint="Try again later, or raise `queue_size`.")
        await self._enqueue(alone=False)
        try:
            yield
        finally:
            self._remove(alone=False)

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        """Work while nobody else does."""
        await self._enqueue(alone=True)
        try:
            yield
        finally:
            self._remove(alone=True)

    async def _enqueue(self, *, alone: bool) -> None:
        """Wait at the end of the line until it is one's turn, or give the place up."""
        place: Place = asyncio.get_running_loop().create_future()
        self._line.append((place, alone))
        self._admit()
        try:
            await place
        except asyncio.CancelledError:
            if not place.cancelled():
                self._remove(alone=alone)  # It was our turn already.
            else:
                self._line = deque(each for each in self._line if each[0] is not place)
                self._admit()
            raise

    def _remove(self, *, alone: bool) -> None:
        if alone:
            self._alone = False
        else:
            self._working -= 1
        self._admit()

    def _admit(self) -> None:
        """Let those go ahead that stand first and have room."""
        while self._line:
            place, alone = self._line[0]
            if self._alone or self._working >= (1 if alone else self._together):
                return
            self._line.popleft()
            if place.cancelled():
                continue
            if alone:
                self._alone = True
            else:
                self._working += 1
            place.set_result(None)
