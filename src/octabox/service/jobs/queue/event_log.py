"""The events of a job, which clients may follow from any of them on."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from dataclasses import dataclass

from octabox.types import Progress

#: Difference of the ids of two runs, so that ids increase when a job runs again on another server; after half of them follow
#: the events of a job that waits again.
EVENTS_PER_RUN = 1_000_000

#: How many events are kept for clients that connect again.
MAX_EVENTS = 256


@dataclass(frozen=True)
class JobEvent:
    """An event of a job.

    Args:
        id: Its number, which increases.
        progress: The progress; None if the status has changed.
        final: Whether it is the last one.
    """

    id: int
    progress: Progress | None = None
    final: bool = False


class EventLog:
    """The last events of a job.

    Args:
        attempts: How many runs of it have started.
    """

    def __init__(self, attempts: int) -> None:
        self._last = end_number(attempts)
        self._events: deque[JobEvent] = deque(maxlen=MAX_EVENTS)
        self._followers: list[asyncio.Queue[JobEvent]] = []

    @property
    def followed(self) -> bool:
        """Whether a client follows the events."""
        return bool(self._followers)

    def start_run(self, attempts: int) -> None:
        """Number the events of a new run."""
        self._last = max(self._last, attempts * EVENTS_PER_RUN)

    def publish(self, progress: Progress | None = None, *, final: bool = False) -> None:
        """Add an event: the progress, or a change of the status."""
        self._last += 1
        event = JobEvent(self._last, progress, final)
        self._events.append(event)
        for follower in self._followers:
            follower.put_nowait(event)

    async def follow(self, after: int | None) -> AsyncGenerator[JobEvent, None]:
        """Yield the events after one of them.

        Args:
            after: Id of that event. If it is not kept, the first event is the current status.
        """
        events: asyncio.Queue[JobEvent] = asyncio.Queue()
        first = self._events[0].id if self._events else self._last + 1
        if after is None or not first - 1 <= after <= self._last:
            events.put_nowait(JobEvent(self._last, final=bool(self._events) and self._events[-1].final))
        else:
            for event in self._events:
                if event.id > after:
                    events.put_nowait(event)
        self._followers.append(events)
        try:
            while not (event := await events.get()).final:
                yield event
            yield event
        finally:
            self._followers.remove(events)


def end_number(attempts: int) -> int:
    """Return the id of the last event of a run, for a job whose events are no longer kept.

    Args:
        attempts: How many runs of it have started.
    """
    return attempts * EVENTS_PER_RUN + EVENTS_PER_RUN // 2
