"""Send the clients that follow waiting jobs their positions, a few times a second at most."""

from __future__ import annotations

import asyncio

from octabox.service.jobs.queue.live_jobs import LiveJobs
from octabox.types import Progress

#: Seconds between two updates: each end of a job changes the positions of all that wait, however many are followed.
INTERVAL = 0.25


class PositionPublisher:
    """Publishes positions.

    Args:
        live: The jobs that wait or run.
    """

    def __init__(self, live: LiveJobs) -> None:
        self._live = live
        self._timer: asyncio.TimerHandle | None = None
        self._has_changed = False

    def publish(self) -> None:
        """Send the clients that follow a waiting job its position, if it has changed; soon, if that was done just now."""
        self._has_changed = True
        if self._timer is None:
            self._publish()

    def close(self) -> None:
        """Send no more positions."""
        if self._timer is not None:
            self._timer.cancel()

    def _publish(self) -> None:
        """Send the positions, unless none may have changed since the last time."""
        self._timer, followed = None, self._live.followed() if self._has_changed else []
        self._has_changed = False
        if not followed:
            return
        self._timer = asyncio.get_running_loop().call_later(INTERVAL, self._publish)
        for job, position in self._live.order.positions(followed):
            progress = Progress("queued", position=position)
            if progress != job.progress:
                job.progress = progress
                self._live.log(job).publish(progress)
