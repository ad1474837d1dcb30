"""The previews that a caller has received of a call which more than one worker runs."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from octabox.types import Event, Progress


class ReceivedPreviews:
    """Counts previews by output, so that a caller receives each once, however often its call is run."""

    def __init__(self) -> None:
        self._of_run: Counter[int] = Counter()
        self._received: Counter[int] = Counter()

    def __bool__(self) -> bool:
        return bool(self._received)

    def restart(self) -> None:
        """Note that the call is run from its start again."""
        self._of_run.clear()

    def without_known(self, event: Event) -> Event:
        """Return an event of the current run, without a preview that the caller has received in an earlier one."""
        if not isinstance(event, Progress) or event.preview is None:
            return event
        self._of_run[event.output] += 1
        is_known = self._of_run[event.output] <= self._received[event.output]
        self._received |= self._of_run
        return replace(event, preview=None) if is_known else event
