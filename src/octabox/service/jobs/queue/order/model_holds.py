"""The models whose jobs are held for a while: their queue is full of what clients wait for, or the store does not respond."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection

from octabox.service.jobs.record import StoredJob


class ModelHolds:
    """Holds the jobs of models. After each pause one job is tried; the others follow once that is accepted.

    All together would be refused again, and each refusal lets clients come back later.

    Args:
        send_one: Sends the next job of a model and returns it; None if none can be sent.
        dispatch: Sends the jobs of models.
    """

    def __init__(
        self, send_one: Callable[[str], StoredJob | None], dispatch: Callable[[Collection[str]], None]
    ) -> None:
        self._send_one, self._dispatch = send_one, dispatch
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._trials: dict[str, StoredJob] = {}

    @property
    def models(self) -> set[str]:
        """The models whose jobs are held."""
        return self._timers.keys() | self._trials.keys()

    def hold(self, model: str, seconds: float) -> None:
        """Send no jobs of a model for some time; one that is held already is not held for longer."""
        self._trials.pop(model, None)
        if model not in self._timers:
            self._timers[model] = asyncio.get_running_loop().call_later(seconds, self._try, model)

    def note(self, job: StoredJob) -> None:
        """Send the other jobs of its model, if it was tried, and has entered the queue of the engine or has ended."""
        if self._trials.get(job.request.model) is job:
            del self._trials[job.request.model]
            self._dispatch([job.request.model])

    def close(self) -> None:
        """Try no more jobs."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    def _try(self, model: str) -> None:
        """Send one job of a model, and hold the others until that is accepted."""
        del self._timers[model]
        if job := self._send_one(model):
            self._trials[model] = job
