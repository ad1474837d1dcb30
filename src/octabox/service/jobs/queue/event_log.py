"""The events of a job, which clients may follow from any of them on."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, replace

from octabox.types import Progress

#: Difference of the ids of two runs, so that ids increase when a job runs again on another server; after half of them follow
#: the events of a job that waits again, and the last of them is the end.
EVENTS_PER_RUN = 1_000_000

#: How many events are kept for clients that connect again.
MAX_EVENTS = 256

#: How many of these have their previews still, which are images: a client that is slower or connects again needs the last.
MAX_PREVIEWS = 4


@dataclass
class JobEvent:
    """An event of a job.

    Args:
        id: Its number, which increases.
        progress: The progress; None if the status has changed. Its preview is removed once there are enough newer ones.
        final: Whether it is the last one.
    """

    id: int
    progress: Progress | None = None
    final: bool = False


class EventLog:
    """The last events of a job.

    Args:
        attempts: How many runs of it have started.
        on_followed: Called when a client follows the events, and when one no longer does.
    """

    def __init__(self, attempts: int, on_followed: Callable[[], None] = lambda: None) -> None:
        self._on_followed = on_followed
        self._attempts, self._last = attempts, wait_number(attempts)
        self._events: deque[JobEvent] = deque(maxlen=MAX_EVENTS)
        self._previews: deque[JobEvent] = deque()
        self._followers: list[asyncio.Queue[JobEvent]] = []

    @property
    def followed(self) -> bool:
        """Whether a client follows the events."""
        return bool(self._followers)

    def start_run(self, attempts: int) -> None:
        """Number the events of a new run."""
        self._attempts, self._last = attempts, max(self._last, attempts * EVENTS_PER_RUN)

    def publish(self, progress: Progress | None = None, *, final: bool = False) -> None:
        """Add an event: the progress, or a change of the status."""
        self._last += 1
        event = JobEvent(self._last, progress, final)
        self._events.append(event)
        if progress is not None and progress.preview is not None:
            self._keep_preview(event)
        for follower in self._followers:
            follower.put_nowait(event)

    def end(self) -> None:
        """Add the end of the job, whose id is the same at all servers, so that a client that has it is recognized."""
        self._last = end_number(self._attempts) - 1
        self.publish(final=True)

    def _keep_preview(self, event: JobEvent) -> None:
        """Keep the preview of an event, and remove the oldest one, for all followers too that have not read it yet."""
        self._previews.append(event)
        if len(self._previews) > MAX_PREVIEWS:
            oldest = self._previews.popleft()
            oldest.progress = oldest.progress and replace(oldest.progress, preview=None)

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
        self._on_followed()
        try:
            while not (event := await events.get()).final:
                yield event
            yield event
        finally:
            self._followers.remove(events)
            self._on_followed()


def wait_number(attempts: int) -> int:
    """Return the id before the events of a job that waits, or that another server runs.

    Args:
        attempts: How many runs of it have started.
    """
    return attempts * EVENTS_PER_RUN + EVENTS_PER_RUN // 2


def end_number(attempts: int) -> int:
    """Return the id of the end of a job, which is higher than those of all its events.

    Args:
        attempts: How many runs of it have started.
    """
    return (attempts + 1) * EVENTS_PER_RUN - 1
