"""Requests by their ids."""

from __future__ import annotations

import asyncio
import contextlib
import threading

import pytest

from fakes import FakeGenerations
from octabox.errors import (
    GenerationCancelledError,
    GenerationNotFoundError,
    InvalidParameterError,
    ModelNotFoundError,
    OctaboxError,
)
from octabox.service.jobs import Job, Jobs, registry
from octabox.types import Artifact, Generation, GenerationRequest, Progress


class Shop:
    """Jobs over a fake, with a clock of their own and a shelf of files."""

    def __init__(self) -> None:
        self.now, self.files = 100.0, list[str]()
        self.generations = FakeGenerations()
        self.jobs = Jobs(self.generations, 10, self.keep, self.drop, lambda: self.now)
        self.may_drop = threading.Event()
        self.may_drop.set()

    def keep(self, artifact: Artifact) -> str:
        """Keep an artifact, under its seed."""
        self.files.append(f"{artifact.seed}.png")
        return self.files[-1]

    def drop(self, name: str) -> None:
        """Delete a file, as a store that may be slow does."""
        assert self.may_drop.wait(20)
        self.files.remove(name)

    def start(self, *, keep: bool = False, **fields: object) -> Job:
        """Start a request."""
        request = {"model": "demo", "seed": 5, "id": "a", **fields}
        return self.jobs.start(GenerationRequest(**request), keep=keep)  # type: ignore[arg-type]

    async def ended(self, job: Job) -> Job:
        """Return a job once it has ended."""
        with contextlib.suppress(OctaboxError):
            async for _ in self.jobs.follow(job):
                pass
        return job


@pytest.fixture
def shop() -> Shop:
    """Return jobs over a fake."""
    return Shop()


async def test_a_follower_hears_everything(shop: Shop) -> None:
    """Whoever follows a job from its start gets its progress and its whole result."""
    job = shop.start(partial_images=2)
    events = [event async for event in shop.jobs.follow(job)]

    assert [Progress, Progress, Progress, Generation] == [type(event) for event in events]
    assert isinstance(events[-1], Generation)
    assert events[-1].artifacts[0].content


async def test_a_follower_has_its_own_error(shop: Shop) -> None:
    """What a protocol adds to it is not in that of the job, nor in that of another follower."""
    job = shop.start(model="nothing")
    errors = []
    for events in (shop.jobs.follow(job), shop.jobs.follow(job)):
        with pytest.raises(OctaboxError) as raised:
            _ = [event async for event in events]
        errors.append(raised.value)
    errors[0].message = "Request 1 of the batch failed."

    assert job.error is not None
    assert errors[1].message == job.error.message != errors[0].message


async def test_what_is_remembered(shop: Shop) -> None:
    """An ended job has its times and its result, whose content is on the shelf alone."""
    job = await shop.ended(shop.start(keep=True, num_outputs=2, partial_images=1))

    assert ("completed", 100.0, 110.0) == (job.status, job.ended, job.expires)
    assert ("5.png", "6.png") == job.files
    assert job.result is not None
    assert [b"", b""] == [artifact.content for artifact in job.result.artifacts]
    assert ("running", 1, None) == (job.progress.phase, job.progress.step, job.progress.preview)


async def test_a_running_job_can_be_cancelled(shop: Shop) -> None:
    """Cancelling ends what runs it, and its follower is told."""
    shop.generations.hang = True
    job = shop.start()
    events = shop.jobs.follow(job)
    assert Progress("queued") == await anext(events)
    await shop.jobs.cancel(shop.jobs.find("a"))

    with pytest.raises(GenerationCancelledError):
        await anext(events)
    assert shop.generations.cancelled.is_set()
    assert "cancelled" == shop.jobs.find("a").status


async def test_a_job_that_has_not_begun_can_be_cancelled(shop: Shop) -> None:
    """A job that is cancelled at once never reaches the engine."""
    job = shop.start()
    await shop.jobs.cancel(job)

    assert ("cancelled", []) == (job.status, shop.generations.requests)
    with pytest.raises(GenerationCancelledError):
        await anext(shop.jobs.follow(job))


async def test_a_follower_that_leaves_ends_the_job(shop: Shop) -> None:
    """Closing what a client follows cancels the job."""
    shop.generations.hang = True
    job = shop.start()
    events = shop.jobs.follow(job)
    await anext(events)
    await events.aclose()

    assert "cancelled" == job.status


async def test_an_error_is_kept(shop: Shop) -> None:
    """A job that failed says why."""
    job = shop.start(model="nobody")
    await job.begun.wait()

    assert "failed" == job.status
    assert isinstance(job.error, ModelNotFoundError)


async def test_what_breaks_is_told_to_nobody(shop: Shop) -> None:
    """Something unexpected is an error without its details."""
    shop.generations.error = ValueError("secret")
    job = await shop.ended(shop.start())

    assert "failed" == job.status
    assert type(job.error) is OctaboxError
    assert "secret" not in str(job.error)


async def test_an_id_is_taken_while_it_runs(shop: Shop) -> None:
    """Two running requests cannot share an id; after its end an id can be used again, and the old files go."""
    shop.generations.hang = True
    job = shop.start()
    with pytest.raises(InvalidParameterError, match="'a' is running"):
        shop.start()
    await shop.jobs.cancel(job)
    shop.generations.hang = False
    second = await shop.ended(shop.start(keep=True))
    third = await shop.ended(shop.start(seed=9, keep=True))

    assert "completed" == second.status
    assert third is shop.jobs.find("a")
    await shop.jobs.close()
    assert ["9.png"] == shop.files


async def test_jobs_expire(shop: Shop) -> None:
    """After its time a job is forgotten, and its files are deleted."""
    await shop.ended(shop.start(keep=True))
    shop.now += 10

    with pytest.raises(GenerationNotFoundError, match="no request 'a'"):
        shop.jobs.find("a")
    await shop.jobs.close()
    assert [] == shop.files


async def test_a_slow_store_is_waited_for_by_who_deletes(shop: Shop) -> None:
    """Nobody else waits while files are deleted; a deletion has ended when it says so, and so has the server's end."""
    jobs = [await shop.ended(shop.start(id=each, seed=seed, keep=True)) for seed, each in enumerate("ab")]
    shop.may_drop.clear()
    forgetting = asyncio.create_task(shop.jobs.forget(jobs[0]))
    await asyncio.sleep(0.01)
    shop.now += 10

    assert ([], False, 2) == (shop.jobs.list(), forgetting.done(), len(shop.files))
    closing = asyncio.create_task(shop.jobs.close())
    await asyncio.sleep(0.01)
    assert not closing.done()
    shop.may_drop.set()
    await asyncio.gather(forgetting, closing)
    assert [] == shop.files


async def test_a_file_that_cannot_be_deleted_keeps_no_other(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    """The log names it."""
    job = await shop.ended(shop.start(keep=True, num_outputs=2))
    shop.files.remove(job.files[0])
    await shop.jobs.forget(job)

    assert [] == shop.files
    assert job.files[0] in caplog.text


async def test_only_so_many_are_remembered(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest ended jobs make room; running ones stay."""
    monkeypatch.setattr(registry, "MAX_ENDED", 2)
    for name in "abcd":
        await shop.ended(shop.start(id=name))

    assert ["c", "d"] == [job.id for job in shop.jobs.list()]


async def test_forgetting_ends_and_deletes(shop: Shop) -> None:
    """A job that is forgotten is ended first, and no id leads to it."""
    shop.generations.hang = True
    job = shop.start()
    await job.begun.wait()
    await shop.jobs.forget(job)

    assert ("cancelled", []) == (job.status, shop.jobs.list())


async def test_closing_ends_all(shop: Shop) -> None:
    """When the server stops, no job runs on."""
    shop.generations.hang = True
    running = [shop.start(id=name) for name in "ab"]
    await running[0].begun.wait()
    await shop.jobs.close()

    assert ["cancelled", "cancelled"] == [job.status for job in running]
