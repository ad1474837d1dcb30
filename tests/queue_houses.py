"""Queues of background jobs over fakes, for tests of one server or of several."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from octabox.errors import InvalidParameterError, QueueFullError
from octabox.security.clients import current_client
from octabox.service.jobs import JobQuery, JobQueue, JobStore, QueueLimits, StoredJob, Submission
from octabox.service.protocols import Models
from octabox.types import Artifact, Event, Generation, GenerationRequest, Progress

#: Seconds in which a test must have come to its end.
LIMIT = 20


class Runs:
    """Runs one request after another, in the order in which they come; each takes until a test ends it."""

    def __init__(self) -> None:
        self.order: list[str] = []
        self.automatic, self.refuses = True, 0
        self.error: Exception | None = None
        self._free = asyncio.Lock()
        self._ends: dict[str, asyncio.Event] = {}

    async def validate(self, request: GenerationRequest, models: Models | None = None) -> GenerationRequest:
        """Accept it."""
        if request.model == "nothing":
            raise InvalidParameterError("Bad.", parameter="model")
        return request if request.seed is not None else replace(request, seed=7)

    async def stream(self, request: GenerationRequest, models: Models | None = None) -> AsyncGenerator[Event, None]:
        """Run it."""
        if self.refuses:
            self.refuses -= 1
            raise QueueFullError("Full.", retry_after=0.01)
        yield Progress("queued")
        async with self._free:
            self.order.append(request.id)
            yield Progress("running", 1, 2)
            if not self.automatic:
                await self.end_of(request.id).wait()
            if self.error:
                raise self.error
            content = str(request.seed).encode()
            artifact = Artifact("image", "image/png", content, request.seed, {"params": dict(request.params)})
            yield Generation(request.id, request.model, "FakePipeline", "text-to-image", (artifact,))

    async def generate(self, request: GenerationRequest, models: Models | None = None) -> Generation:
        """Be unused."""
        raise NotImplementedError

    def end_of(self, name: str) -> asyncio.Event:
        """Return what ends the run of a request."""
        return self._ends.setdefault(name, asyncio.Event())

    async def started(self, name: str) -> None:
        """Wait until a request runs."""
        await until(lambda: name in self.order)


class House:
    """A folder with the jobs of one server after another."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.now, self.runs = folder, 1000.0, Runs()
        self.queue = self.opened()

    def opened(self, **limits: Any) -> JobQueue:
        """Return a queue, which is not open yet."""
        return JobQueue(self.runs, JobStore(None, self.folder), QueueLimits(**limits), clock=lambda: self.now)

    async def restart(self, **limits: Any) -> None:
        """Close the queue and open another one."""
        await self.queue.close()
        self.queue = self.opened(**limits)
        await self.queue.open()

    async def accept(self, *names: str, key: str | None = None, client: str = "", **fields: Any) -> None:
        """Accept jobs of a client, one by one."""
        priority = fields.pop("priority", 0)
        token = current_client.set(client)
        try:
            for name in names:
                request = GenerationRequest("demo", id=name, **{"seed": 3, **fields})
                await self.queue.accept([Submission(request, priority=priority)], key)
        finally:
            current_client.reset(token)

    async def ended(self, *names: str) -> list[StoredJob]:
        """Return jobs once they have ended."""
        for name in names:
            async for _ in await self.queue.follow(name):
                pass
        return [await self.queue.find(name) for name in names]


async def until(condition: Callable[[], object]) -> None:
    """Wait until a condition holds."""

    async def wait() -> None:
        while not condition():  # noqa: ASYNC110 (the state of other objects)
            await asyncio.sleep(0.005)

    await asyncio.wait_for(wait(), LIMIT)


async def end_abruptly(queue: JobQueue) -> None:
    """Stop a queue as the end of its process does."""
    assert queue.lease._task
    queue.lease._task.cancel()
    await queue.store.close()


class Servers:
    """Two servers that share a store, whose leases are renewed when a test wants that."""

    def __init__(self, one: House, url: str | None = None) -> None:
        self.one, self.two = one, House(one.folder)
        for house in (self.one, self.two):
            house.queue = JobQueue(house.runs, JobStore(url, one.folder), clock=lambda: one.now)

    async def open(self) -> None:
        """Open both."""
        for house in (self.one, self.two):
            await house.queue.open()

    async def close(self) -> None:
        """Close both."""
        for house in (self.two, self.one):
            await house.queue.close()


async def check_sharing(servers: Servers) -> None:
    """Check that two servers run each job once, see each other's jobs, and take over those of one that has ended."""
    one, two = servers.one, servers.two
    one.runs.automatic = False
    await one.accept("a", "b")
    await two.accept("c")
    await one.runs.started("a")
    await two.ended("c")
    await one.queue.lease.renew()
    await two.queue.lease.renew()
    assert (["a"], ["c"]) == (one.runs.order, two.runs.order)
    assert ["a", "b", "c"] == [job.id for job in await two.queue.list(JobQuery(newest_first=False))]
    assert "in_progress" == (await two.queue.find("a")).status
    events = await two.queue.follow("a")
    assert not (await anext(events)).final
    await end_abruptly(one.queue)
    await two.queue.lease.renew()
    ended = await two.ended("a", "b")

    assert [("completed", 1), ("completed", 0)] == [(job.status, job.losses) for job in ended]
    assert [True] == [event.final async for event in events if event.final]
    assert ["c", "a", "b"] == two.runs.order
