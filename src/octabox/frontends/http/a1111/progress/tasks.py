"""The tasks of callers: each request that generates, its progress, and its end before it is finished."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeAlias, TypeVar

from octabox.errors import InvalidParameterError
from octabox.frontends.http.a1111.callers import Caller
from octabox.types import Artifact, Progress

#: Maximum number of ended tasks whose ids are kept.
MAX_ENDED = 1000

#: Format of a task's time.
TIMESTAMP = "%Y%m%d%H%M%S"

T = TypeVar("T")

#: Receives the progress of a batch.
OnProgress: TypeAlias = Callable[[Progress], None]


@dataclass(frozen=True)
class Preview:
    """An unfinished image.

    Args:
        artifact: The image.
        batch: Index of its batch.
        output: Index of the image in its batch.
    """

    artifact: Artifact
    batch: int
    output: int = 0


@dataclass
class Task:
    """A request that generates.

    Args:
        id: Its id.
        caller: Who has sent it.
        job: Its name: the route.
        batches: Number of batches.
        started: When it was started, in seconds since the epoch.
        batch: Index of the current batch.
        progress: Progress of the current batch.
        preview: The last preview.
        previews: Number of previews so far.
        interrupted: Whether it was interrupted.
        skipped: Whether the current batch was skipped.
    """

    id: str
    caller: Caller
    job: str
    batches: int = 1
    started: float = field(default_factory=time.time)
    batch: int = 0
    progress: Progress = field(default_factory=lambda: Progress("queued"))
    preview: Preview | None = None
    previews: int = 0
    interrupted: bool = False
    skipped: bool = False
    _running: dict[int, asyncio.Task[Any]] = field(default_factory=dict)
    _cancelled: set[int] = field(default_factory=set)

    def advance(self, progress: Progress, index: int | None = None) -> None:
        """Record progress of the current batch; that of a batch with another index is that of a later one."""
        if index is not None and not self.is_current(index):
            return
        if progress.preview is not None:
            batch = self.batch if index is None else index
            self.preview, self.previews = Preview(progress.preview, batch, progress.output), self.previews + 1
        self.progress = progress

    def is_of(self, caller: Caller) -> bool:
        """Return whether a caller may see its images and end it: one with the same credentials, or at the same address."""
        return self.caller.name == caller.name

    @property
    def fraction(self) -> float:
        """The fraction of the work that is done, from 0 to 1; just above 0 at the beginning, as 0 means idle."""
        now = self.progress
        part = (now.part - 1 + (now.step / now.steps if now.steps else 0)) / max(now.parts, 1)
        return min(max((self.batch + min(part, 1.0)) / max(self.batches, 1), 0.01), 1.0)

    @property
    def eta(self) -> float:
        """Estimated seconds until the end; 0 if nothing is known yet."""
        elapsed = time.time() - self.started
        return elapsed / self.fraction - elapsed if self.progress.step or self.batch else 0.0

    @property
    def timestamp(self) -> str:
        """When it was started, as text."""
        return time.strftime(TIMESTAMP, time.localtime(self.started))

    def interrupt(self) -> None:
        """End the task; what is finished is its result."""
        self.interrupted = True
        for index in [*self._running]:
            self._cancel(index)

    def skip(self) -> None:
        """End the current batch."""
        self.skipped = True
        self._cancel(min(self._running, default=-1))

    def is_current(self, index: int) -> bool:
        """Return whether a batch is the first one that has not ended."""
        return index == min(self._running, default=index)

    def _cancel(self, index: int) -> None:
        if index in self._running:
            self._cancelled.add(index)
            self._running[index].cancel()

    async def run(self, start: int, works: Sequence[Callable[[OnProgress], Awaitable[T]]]) -> list[T | None]:
        """Run batches, which may share calls of the pipeline, and return their results; None for an interrupted one.

        Args:
            start: Index of the first one.
            works: Run a batch each; they report their progress.
        """
        if self.interrupted:
            return [None] * len(works)
        self.batch, self.progress, self.preview = start, Progress("queued"), None
        self._cancelled.clear()
        running = [
            asyncio.ensure_future(work(partial(self.advance, index=start + index))) for index, work in enumerate(works)
        ]
        self._running = dict(enumerate(running, start))
        for index, each in self._running.items():
            each.add_done_callback(partial(self._end, index))
        try:
            pending = set(running)
            while pending:
                done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
                if any(not each.cancelled() and each.exception() for each in done):
                    break
        finally:
            # One has failed, the client has gone, or the server is being stopped.
            for each in running:
                each.cancel()
            await asyncio.gather(*running, return_exceptions=True)
            self._running = {}
        failed = (each for each in running if not each.cancelled() and each.exception())
        if (first := next(failed, None)) is not None:
            first.result()
        return [
            None if each.cancelled() and start + index in self._cancelled else each.result()
            for index, each in enumerate(running)
        ]

    def _end(self, index: int, _: asyncio.Task[Any]) -> None:
        """Count the end of a batch; the current one is the first that has not ended."""
        was_current = self.is_current(index)
        if self._running.pop(index, None) is not None:
            if was_current and not self.interrupted:
                # The next batch has no preview yet. That of an interrupted one is part of the result.
                self.preview = None
            self.batch += 1
            self.progress, self.skipped = Progress("queued"), False


class Tasks:
    """The tasks that wait or run, and the ids of those that have ended."""

    def __init__(self) -> None:
        self._active: dict[str, Task] = {}
        self._ended: OrderedDict[str, Caller] = OrderedDict()

    @contextmanager
    def started(self, task_id: str | None, caller: Caller, job: str, batches: int) -> Iterator[Task]:
        """Register a task within the context.

        Raises:
            InvalidParameterError: Another task with this id is running.
        """
        name = task_id or f"task({uuid.uuid4().hex[:15]})"
        if name in self._active:
            raise InvalidParameterError(
                f"A task '{name}' is running.", hint="Choose another id, or none.", parameter="force_task_id"
            )
        task = self._active[name] = Task(name, caller, job, batches)
        try:
            yield task
        finally:
            del self._active[name]
            self._ended[name] = caller
            if len(self._ended) > MAX_ENDED:
                self._ended.popitem(last=False)

    def find(self, task_id: str) -> Task | None:
        """Return a task that waits or runs by its id."""
        return self._active.get(task_id)

    def has_ended(self, task_id: str) -> bool:
        """Return whether a task of this id has ended."""
        return task_id in self._ended

    def current(self, caller: Caller, task_id: str | None = None) -> Task | None:
        """Return the task of a caller that runs, else that waits longest; with an id, that task.

        Those of other sessions at its address, such as that of a client that drops its cookie, are the last choice.
        """
        if task_id:
            return self.find(task_id)
        tasks = [task for task in self._active.values() if caller.matches(task.caller)]
        return min(
            tasks,
            key=lambda task: (task.caller.session != caller.session, task.progress.phase == "queued", task.started),
            default=None,
        )

    def waiting(self, caller: Caller) -> list[str]:
        """Return the ids of a caller's tasks that wait."""
        return [task.id for task in self._active.values() if task.is_of(caller) and task.progress.phase == "queued"]
