"""The queue of background jobs over fakes: what is accepted, in which order it runs, and what survives."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Collection,
    Coroutine,
    Iterator,
    Sequence,
)
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.event import listens_for

import fake_worker
from octabox import errors
from octabox.engine.protocol import Call
from octabox.errors import (
    CapacityError,
    GenerationCancelledError,
    GenerationError,
    GenerationNotFoundError,
    InvalidParameterError,
    ModelNotFoundError,
    QueueFullError,
    ServerStoppingError,
    WorkerDiedError,
)
from octabox.security.clients import current_client, current_priority, in_background, visible_client
from octabox.service.jobs import JobQuery, JobQueue, JobStore, StoredJob, Submission
from octabox.service.jobs.errors import (
    IdempotencyError,
    JobLostError,
    JobQuotaError,
    JobStateError,
    JobStoreError,
    ResultExpiredError,
    WorkerLostError,
)
from octabox.service.jobs.leases import keeper
from octabox.service.jobs.output_changes import OutputId, delete_outputs
from octabox.service.jobs.queue import dispatcher, positions, recorder
from octabox.service.jobs.queue.event_log import EventLog, end_number
from octabox.service.jobs.queue.job_queue import prune
from octabox.service.jobs.queue.order.client_turns import ClientTurns
from octabox.service.jobs.record import Acceptance
from octabox.service.jobs.store.files import FolderFiles
from octabox.service.protocols import Models
from octabox.telemetry.metrics import Metrics
from octabox.types import Artifact, Event, Generation, GenerationRequest, Phase, Progress
from queue_houses import LIMIT, House, Runs, Servers, check_sharing, end_abruptly, until


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    """Return an empty queue over fakes."""
    house = House(tmp_path)
    yield house
    await house.queue.close()


@pytest.fixture
def dropped(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Return the files that are deleted, none of which in the thread of the event loop: a store may be elsewhere."""
    names: list[str] = []
    threads: set[threading.Thread] = set()
    drop = FolderFiles.drop

    def record(self: FolderFiles, each: Collection[str]) -> None:
        names.extend(each)
        threads.add(threading.current_thread())
        drop(self, each)

    monkeypatch.setattr(FolderFiles, "drop", record)
    yield names
    assert threading.current_thread() not in threads


async def test_a_job_is_run_and_kept(house: House) -> None:
    """Its result is a file; it survives a restart with everything that is known of it, until its time is up."""
    await house.accept("a", params={"prompt": "x"}, inputs={"image": (b"one", "https://host/two")})
    (before,) = await house.ended("a")
    await house.restart()
    job = await house.queue.find("a")
    found = house.queue.results.find(job.files[0])

    assert ("completed", 1000.0, 1000.0 + 24 * 3600, 1, 3) == (
        job.status,
        job.ended,
        job.expires,
        job.attempts,
        job.request.seed,
    )
    assert before.result == job.result
    assert found is not None
    assert found.path is not None
    assert b"3" == found.path.read_bytes()
    house.now += 24 * 3600
    with pytest.raises(GenerationNotFoundError):
        await house.queue.find("a")
    await house.queue.results.delete_expired()
    assert [] == [*(house.folder / "jobs" / "files").iterdir()]


async def test_media_reach_the_run(house: House) -> None:
    """Files and long texts are stored apart, and come back where they were; what looks like a reference is none."""
    params = {"prompt": "y" * 50_000, "odd": {"file": "../../x"}, "list": [[1.5, None], {"deep": "z" * 20_000}]}
    seen: list[GenerationRequest] = []
    stream = house.runs.stream

    def watch(request: GenerationRequest, models: Models | None = None) -> AsyncGenerator[Event, None]:
        seen.append(request)
        return stream(request, models)

    house.runs.stream = watch  # type: ignore[method-assign]
    await house.accept("a", params=params, inputs={"image": (b"\x00one", "AAAA")})
    await house.ended("a")

    assert [params] == [each.params for each in seen]
    assert {"image": (b"\x00one", "AAAA")} == seen[0].inputs


async def test_what_waits_and_what_ran_runs_after_a_restart(house: House) -> None:
    """In their order, once each; a run that the end of the server has cut off is counted as started."""
    house.runs.automatic = False
    await house.accept("a", "b", "c")
    await house.runs.started("a")
    await house.restart()
    house.runs.automatic = True
    jobs = await house.ended("a", "b", "c")

    assert ["a", "a", "b", "c"] == house.runs.order
    assert [2, 1, 1] == [job.attempts for job in jobs]
    assert [0, 0, 0] == [job.losses for job in jobs]


async def kill(house: House) -> None:
    """Close the store as the end of a process does: nothing is written of what runs, and its lease is not released."""
    await house.queue.store.change(await house.queue.find("a"), status="in_progress", started=house.now)
    await end_abruptly(house.queue)
    house.queue = house.opened()


async def test_a_job_that_ends_the_server_twice_fails(house: House) -> None:
    """It is the likely cause, and other jobs must run; whoever retries it has two attempts again."""
    house.runs.automatic = False
    await house.accept("a", "b")
    await kill(house)
    assert "queued" == (await house.queue.find("a")).status
    await kill(house)
    lost = await house.queue.find("a")

    assert ("failed", 2) == (lost.status, lost.losses)
    assert isinstance(lost.error, WorkerLostError)
    assert "The server ended 2 times" in str(lost.error)
    house.runs.automatic = True
    for event in map(house.runs.end_of, "ab"):
        event.set()
    await house.queue.retry("a")
    assert ["completed", 0] == [getattr((await house.ended("a"))[0], name) for name in ("status", "losses")]


async def test_a_job_that_ends_its_workers_fails_as_one_that_ends_the_server(house: House) -> None:
    """The engine has run it twice; it is run for the background, so that its previews may be sent again."""
    house.runs.error = WorkerDiedError("The worker process of model 'demo' was ended by signal SIGKILL.")
    seen: list[bool] = []
    stream = house.runs.stream

    def watch(request: GenerationRequest, models: Models | None = None) -> AsyncGenerator[Event, None]:
        seen.append(in_background.get())
        return stream(request, models)

    house.runs.stream = watch  # type: ignore[method-assign]
    await house.accept("a")
    (job,) = await house.ended("a")

    assert ("failed", [True]) == (job.status, seen)
    assert isinstance(job.error, WorkerLostError)
    assert "SIGKILL" in str(job.error)
    assert not in_background.get()


class Phases(Runs):
    """Runs that report phases, one list of them for each; all but the last run end since there is no room for the model."""

    def __init__(self, *runs: Sequence[Phase]) -> None:
        super().__init__()
        self.left, self.last, self.reported = [*runs], runs[-1], list[Phase]()

    async def stream(self, request: GenerationRequest, models: Models | None = None) -> AsyncGenerator[Event, None]:
        """Report the phases of the next run, and go on until a test ends it."""
        phases, *self.left = self.left
        self.reported = []
        for phase in phases:
            yield Progress(phase)
            self.reported.append(phase)
        if self.left:
            error = CapacityError("There is no room.")
            error.retry_after = 0.01
            raise error
        self.left.append(phases)
        await self.end_of(request.id).wait()
        async for event in super().stream(request):
            yield event


async def has_reported(runs: Phases, house: House) -> None:
    """Wait until the last run has reported its phases, and until that is on disk."""
    await until(lambda: runs.reported == runs.last)
    await house.queue.store.count_by_status()


@pytest.mark.parametrize(
    ("runs", "status", "losses"),
    [
        ([["queued", "downloading"]], "in_progress", 0),
        ([["queued", "downloading", "queued"]], "queued", 0),
        ([["queued", "running"], ["queued"]], "queued", 0),
        ([["queued", "running"], ["queued", "downloading"]], "in_progress", 0),
        ([["queued", "downloading", "loading"]], "failed", 2),
        ([["queued", "loading", "queued"]], "failed", 2),
    ],
)
async def test_only_runs_that_end_with_the_server_are_losses(
    house: House, runs: list[list[Phase]], status: str, losses: int
) -> None:
    """Not a download, nor what waits, whether it has run before or not."""
    house.runs = phases = Phases(*runs)
    house.queue = house.opened()
    await house.accept("a")
    for _ in range(2):
        await has_reported(phases, house)
        await end_abruptly(house.queue)
        phases.reported.clear()
        house.queue = house.opened()
        await house.queue.open()
    if status != "failed":
        await has_reported(phases, house)
    job = await house.queue.find("a")

    assert (status, losses) == (job.status, job.losses)
    assert (losses == 0) == (job.started is None)
    house.runs.end_of("a").set()


async def test_leftovers_are_deleted(house: House) -> None:
    """A file that no job refers to was written by a process that has ended."""
    await house.accept("a")
    await house.ended("a")
    orphan = house.folder / "jobs" / "files" / "x.png"
    for path in (orphan, house.folder / "jobs" / "files" / f"{'0' * 32}.png"):
        path.write_bytes(b"half")
        os.utime(path, (1e9, 1e9))
    await house.restart()

    assert 1 == len([*orphan.parent.iterdir()])
    assert house.queue.results.find((await house.queue.find("a")).files[0])


async def test_a_server_that_starts_deletes_no_files_of_another_one(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which has started after it has looked for others, and accepts a job: its files are written before the job is stored."""
    other = House(house.folder)
    sweep, accept = house.queue.store.sweep, other.queue.store.accept
    written, swept = asyncio.Event(), asyncio.Event()

    async def accept_late(*details: Any) -> Any:
        written.set()
        await swept.wait()
        return await accept(*details)

    async def sweep_late(now: float) -> None:
        await other.queue.open()
        other.queue.store.accept = accept_late  # type: ignore[method-assign, assignment]
        accepting = asyncio.create_task(other.accept("a", inputs={"image": (b"one",)}))
        await written.wait()
        await sweep(now)
        swept.set()
        await accepting

    monkeypatch.setattr(house.queue.store, "sweep", sweep_late)
    await house.queue.open()
    (job,) = await other.ended("a")
    await other.queue.close()

    assert "completed" == job.status


async def test_a_store_with_many_expired_jobs_is_opened(house: House) -> None:
    """They are deleted some at a time: no database takes a statement with all of their ids."""
    await house.accept("a")
    await house.ended("a")
    await house.queue.close()
    with contextlib.closing(sqlite3.connect(house.folder / "jobs" / "jobs.sqlite", isolation_level=None)) as database:
        columns = [row[1] for row in database.execute("PRAGMA table_info(jobs)") if row[1] not in {"id", "number"}]
        names = ", ".join(columns)
        copy = f"INSERT INTO jobs (id, number, {names}) SELECT ? || id, ? + number, {names} FROM jobs WHERE id = 'a'"
        database.execute("BEGIN")
        database.executemany(copy, [(index, index) for index in range(1, 1201)])
        database.execute("COMMIT")
    house.now += 25 * 3600
    house.queue, counts = house.opened(), list[int]()
    await house.queue.store.open()
    assert house.queue.store._database

    @listens_for(house.queue.store._database.engine, "before_cursor_execute")
    def _(*details: Any) -> None:
        counts.append(len(details[3]))

    await house.queue.lease.start()

    assert 400 < max(counts) < 1000
    assert {} == await house.queue.store.count_by_status()
    assert not [*(house.folder / "jobs" / "files").iterdir()]


async def test_jobs_are_moved(house: House) -> None:
    """A job that waits can be put before or after another one, first or last; one that runs cannot."""
    await house.accept("run")
    await house.ended("run")
    await house.queue.controls.pause("demo")
    await house.accept("a", "b", "c", "d", "e")
    find, change = house.queue.find, house.queue.controls.change
    await change(await find("e"), position="first")
    await change(await find("a"), position="last")
    await change(await find("b"), position="after", other=await find("d"))
    await change(await find("c"), position="before", other=await find("b"))
    await change(await find("d"), priority=1)
    with pytest.raises(JobStateError, match="'run' is completed"):
        await change(await find("run"), position="first")
    await house.restart()
    assert ["demo"] == house.queue.controls.paused
    await house.queue.controls.resume("demo")
    await house.ended("a")

    assert ["run", "d", "e", "c", "b", "a"] == house.runs.order


async def test_a_job_that_is_cancelled_while_it_is_moved_stays_cancelled(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its end may be stored while its new priority is: it has no place then, and takes none of its model."""
    await house.accept("run")
    await house.ended("run")
    await house.queue.controls.pause("demo")
    await house.accept("a", "b")
    store = house.queue.store.change

    async def change_late(job: StoredJob, **changes: Any) -> None:
        await store(job, **changes)
        await house.queue.cancel(job.id)

    waiting = await house.queue.find("b")
    with monkeypatch.context() as patch:
        patch.setattr(house.queue.store, "change", change_late)
        with pytest.raises(JobStateError, match="'b' is cancelled"):
            await house.queue.controls.change(waiting, priority=5, position="first")
    house.queue._live.order.change(await house.queue.find("b"), place=0)
    await house.queue.controls.resume("demo")
    await house.ended("a")
    await until(lambda: not house.queue._live.order._queues)

    assert ["run", "a"] == house.runs.order
    assert not house.queue._live.order._sent


@pytest.mark.parametrize(
    ("position", "other", "order"),
    [("first", None, "adbc"), ("before", "c", "abdc"), ("after", "b", "abdc"), ("last", None, "abcd")],
)
async def test_jobs_that_were_sent_are_moved(house: House, position: Any, other: str | None, order: str) -> None:
    """The engine has the jobs of a client that follow the one that runs; they are sent again in their new order."""
    house.runs.automatic = False
    await house.accept(*"abcd")
    await house.runs.started("a")
    await until(lambda: len(house.queue._live.order._sent) == 4)
    target = await house.queue.find(other) if other else None
    await house.queue.controls.change(await house.queue.find("d"), position=position, other=target)
    house.runs.automatic = True
    house.runs.end_of("a").set()
    await house.ended(*"abcd")

    assert [*order] == house.runs.order


class Parts(Runs):
    """Runs a request as two calls, with a download before the first one; each waits in the queue of the engine."""

    def __init__(self) -> None:
        super().__init__()
        self.next_part = asyncio.Event()

    async def stream(self, request: GenerationRequest, models: Models | None = None) -> AsyncGenerator[Event, None]:
        """Run the first call, wait for the second one, and run that."""
        yield Progress("downloading", 1, 2)
        yield Progress("queued")
        self.order.append(request.id)
        yield Progress("running", 1, 2, part=1, parts=2)
        yield Progress("downloading", 1, 2)
        yield Progress("queued", part=2, parts=2)
        await self.next_part.wait()
        yield Progress("running", 1, 2, part=2, parts=2)
        yield Generation(request.id, request.model, "FakePipeline", "text-to-image", ())


async def test_a_job_of_several_calls_is_one_run(house: House) -> None:
    """While the second call waits, the job runs: a pause lets it go on, it has no place, and its run is counted once."""
    house.runs = runs = Parts()
    house.queue = house.opened()
    await house.accept("a")
    await until(lambda: (job := house.queue._live.get("a")) is not None and job.progress.part == 2)
    house.now += 10
    waiting = await house.queue.find("a")
    shown = waiting.status, waiting.progress.phase
    await house.queue.controls.pause("demo")
    with pytest.raises(JobStateError, match="'a' is in_progress"):
        await house.queue.controls.change(waiting, position="last")
    runs.next_part.set()
    (job,) = await house.ended("a")

    assert ("in_progress", "queued") == shown
    assert ["a"] == runs.order
    assert ("completed", 1000.0, 1) == (job.status, job.started, job.attempts)
    assert 10.0 == house.queue._times.seconds("demo")


async def test_a_store_that_fails_for_a_moment_fails_no_job(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is on disk waits, as while a database is restarted."""
    monkeypatch.setattr(dispatcher, "STORE_PAUSE", 0.01)
    await house.queue.open()
    read, failures = house.queue.store.request, [JobStoreError("The server is being restarted.")] * 3

    async def fail(job: StoredJob) -> GenerationRequest:
        if failures:
            raise failures.pop()
        return await read(job)

    monkeypatch.setattr(house.queue.store, "request", fail)
    await house.accept("a", "b")

    assert ["completed", "completed"] == [job.status for job in await house.ended("a", "b")]
    assert [] == failures
    assert ["a", "b"] == sorted(house.runs.order)


async def test_an_end_is_stored_once_the_store_responds(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long that takes; meanwhile a client that cancels the job does not wait for that, and the first end counts."""
    monkeypatch.setattr(recorder, "DELAYS", (0.001,))
    monkeypatch.setattr(dispatcher, "CANCEL_TIMEOUT", 0.05)
    await house.queue.open()
    store, failures = house.queue.store.end, list[str]()
    works = asyncio.Event()

    async def end(job: StoredJob, *others: Any) -> bool:
        if not works.is_set():
            failures.append(job.status)
            raise JobStoreError("The server is being restarted.")
        return await store(job, *others)

    monkeypatch.setattr(house.queue.store, "end", end)
    await house.accept("a")
    await until(lambda: len(failures) > 9)
    during = (await house.queue.cancel("a")).status
    works.set()
    (job,) = await asyncio.wait_for(house.ended("a"), LIMIT)

    assert ("in_progress", "completed") == (during, job.status)
    assert {"completed"} == {*failures}
    assert 0 == len(house.queue._live)


class Pairs(Runs):
    """Runs whose requests have two outputs."""

    async def stream(self, request: GenerationRequest, models: Models | None = None) -> AsyncGenerator[Event, None]:
        """Run one."""
        self.order.append(request.id)
        yield Progress("running", 1, 2)
        artifacts = tuple(Artifact("image", "image/png", b"xx", seed, {}) for seed in range(2))
        yield Generation(request.id, request.model, "FakePipeline", "text-to-image", artifacts)


async def test_a_result_is_kept_until_its_files_can_be_written(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that is full for a moment, after the first file of the result, costs no run and leaves no file behind."""
    monkeypatch.setattr(recorder, "DELAYS", (0.001,))
    house.runs, failures = Pairs(), list[str]()
    house.queue = house.opened()
    await house.queue.open()
    write = house.queue.store.files.write
    written: list[bytes] = []

    def fill(content: bytes, suffix: str = "") -> str:
        written.append(content)
        if 1 < len(written) < 5:
            failures.append(suffix)
            raise JobStoreError("No space left on device.")
        return write(content, suffix)

    monkeypatch.setattr(house.queue.store.files, "write", fill)
    await house.accept("a")
    (job,) = await house.ended("a")

    assert (3, "completed", ["a"]) == (len(failures), job.status, house.runs.order)
    assert {*job.files} == {path.name for path in (house.folder / "jobs" / "files").iterdir()}
    assert 2 == len(job.files)


async def test_a_result_whose_files_cannot_be_written_leaves_none(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until the server stops: the job runs again at the next one, and the file that was written is deleted."""
    monkeypatch.setattr(recorder, "DELAYS", (0.01,))
    house.runs = Pairs()
    house.queue = house.opened()
    await house.queue.open()
    write, names = house.queue.store.files.write, list[str]()

    def fail(content: bytes, suffix: str = "") -> str:
        if names:
            raise JobStoreError("No space left on device.")
        names.append(write(content, suffix))
        return names[0]

    monkeypatch.setattr(house.queue.store.files, "write", fail)
    monkeypatch.setattr(dispatcher, "CANCEL_TIMEOUT", 0.05)
    await house.accept("a")
    await until(lambda: names)
    await house.queue.close()
    await until(lambda: not house.queue._dispatcher._ends)
    left = [*(house.folder / "jobs" / "files").iterdir()]
    house.queue = house.opened()
    (job,) = await house.ended("a")

    assert [] == left
    assert ("completed", ["a", "a"]) == (job.status, house.runs.order)


async def test_an_end_that_was_stored_though_it_seemed_to_fail(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection may break after the transaction: the files of the result are kept, and its followers learn of its end."""
    monkeypatch.setattr(recorder, "DELAYS", (0.001,))
    await house.queue.open()
    store, answers = house.queue.store.end, list[bool]()

    async def end(*details: Any) -> bool:
        answers.append(await store(*details))
        if len(answers) == 1:
            raise JobStoreError("The connection was lost.")
        return answers[-1]

    monkeypatch.setattr(house.queue.store, "end", end)
    await house.accept("a")
    events = [event async for event in await house.queue.follow("a")]
    job = await house.queue.find("a")

    assert [True, False] == answers
    assert end_number(1) == events[-1].id
    assert "completed" == job.status
    assert house.queue.results.find(job.files[0])


async def test_nothing_is_read_from_a_closed_store(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server whose store is closed sends no more jobs, instead of trying again and again."""
    monkeypatch.setattr(dispatcher, "STORE_PAUSE", 0.01)
    await house.queue.open()
    await house.queue.controls.pause()
    await house.accept("a")
    await end_abruptly(house.queue)
    house.queue._live.order.paused.clear()
    house.queue._dispatcher.dispatch()
    await until(lambda: not house.queue._dispatcher._tasks)
    await asyncio.sleep(0.05)

    assert not house.queue._dispatcher._holds.models
    assert not house.queue._dispatcher._tasks
    assert house.queue._live.get("a") is not None
    house.queue = house.opened()


async def test_a_job_whose_files_are_gone_fails(house: House) -> None:
    """No later attempt would find them, nor the row of a job that was deleted."""
    await house.queue.open()
    await house.queue.controls.pause()
    await house.accept("a", inputs={"image": (b"one",)})
    for file in (house.folder / "jobs" / "files").iterdir():
        file.unlink()
    await house.queue.controls.resume()
    (job,) = await house.ended("a")

    assert "failed" == job.status
    assert isinstance(job.error, JobLostError)
    with pytest.raises(JobLostError, match="'b' is not in the store"):
        await house.queue.store.request(replace(job, request=replace(job.request, id="b"), number=job.number + 1))


async def test_a_pause_lets_runs_end(house: House) -> None:
    """What runs goes on; what was sent to the engine waits again."""
    house.runs.automatic = False
    await house.accept("a", "b")
    await house.runs.started("a")
    await house.queue.controls.pause("demo")
    house.runs.end_of("a").set()
    await house.ended("a")
    assert (["a"], "queued") == (house.runs.order, (await house.queue.find("b")).status)
    house.runs.automatic = True
    await house.queue.controls.resume()

    assert "completed" == (await house.ended("b"))[0].status


async def test_jobs_are_cancelled(house: House) -> None:
    """Whether they run, were sent to the engine, or wait; those that have ended stay as they are, and can be retried."""
    house.runs.automatic = False
    names = [f"{index}" for index in range(10)]
    await house.accept(*names)
    await house.runs.started("0")
    for name in ("0", "1", "9"):
        assert "cancelled" == (await house.queue.cancel(name)).status
    assert isinstance((await house.queue.find("9")).error, GenerationCancelledError)
    house.runs.automatic = True
    house.runs.end_of("2").set()
    await house.ended(*names[2:9])
    assert "completed" == (await house.queue.cancel("2")).status
    await house.queue.retry("9")

    assert "completed" == (await house.ended("9"))[0].status
    with pytest.raises(JobStateError, match="'9' is completed"):
        await house.queue.retry("9")


async def test_deleting(house: House) -> None:
    """A deleted job is gone with its file, and its id can be used again."""
    await house.accept("a", "b")
    await house.ended("a", "b")
    await house.queue.delete("a")
    await house.accept("a")
    await house.ended("a")

    assert 2 == await prune(house.queue, JobQuery())
    assert [] == [*(house.folder / "jobs" / "files").iterdir()]


#: Begins to delete the job 'a' of a queue.
Removal = Callable[[House], Awaitable[object]]


def expire(house: House) -> Awaitable[object]:
    """Delete what has expired, a day after the ends of jobs."""
    house.now += 24 * 3600
    return house.queue.results.delete_expired()


#: What deletes ended jobs, what happens to the job meanwhile, and what the removal returns.
REMOVALS: list[tuple[Removal, str, object]] = [
    (lambda house: house.queue.delete("a"), "retried", JobStateError),
    (lambda house: house.queue.delete("a"), "accepted", StoredJob),
    (lambda house: prune(house.queue, JobQuery()), "retried", 1),
    (lambda house: prune(house.queue, JobQuery()), "ended again", 1),
    (lambda house: prune(house.queue, JobQuery()), "accepted", 1),
    (expire, "accepted", None),
]


@pytest.mark.parametrize(("remove", "meanwhile", "expected"), REMOVALS)
async def test_a_removal_leaves_what_was_accepted_meanwhile(
    house: House, monkeypatch: pytest.MonkeyPatch, remove: Removal, meanwhile: str, expected: object
) -> None:
    """A job that was seen when it had ended is not deleted once it waits again, nor a new one with its id."""
    house.runs.error = GenerationError("Bad.")
    await house.accept("a", "b")
    await house.ended("a", "b")
    house.runs.automatic = meanwhile == "ended again"
    run, begun = house.queue.store._run, list[str]()

    async def run_late(name: str, *args: Any) -> Any:
        house.now += 1
        await (house.accept("a", seed=8) if meanwhile == "accepted" else house.queue.retry("a"))
        if meanwhile == "ended again":
            await house.ended("a")
        return await run(name, *args)

    def wait(name: str, *args: Any) -> asyncio.Future[Any]:
        if begun or not name.startswith("remove"):
            return run(name, *args)
        begun.append(name)
        return asyncio.ensure_future(run_late(name, *args))

    monkeypatch.setattr(house.queue.store, "_run", wait)
    outcome = (await asyncio.gather(remove(house), return_exceptions=True))[0]
    left = await house.queue.find("a")
    house.runs.end_of("a").set()
    await house.ended("a")

    assert begun
    assert outcome == expected or (isinstance(expected, type) and isinstance(outcome, expected))
    assert (8 if meanwhile == "accepted" else 3) == left.request.seed


async def test_a_prune_counts_what_it_deletes(house: House) -> None:
    """Of two at once, each job is counted by one."""
    await house.accept(*"abc")
    await house.ended(*"abc")
    counts = await asyncio.gather(*(prune(house.queue, JobQuery()) for _ in range(2)))

    assert 3 == sum(counts)
    assert 0 == await prune(house.queue, JobQuery())


async def test_a_key_is_accepted_once(house: House) -> None:
    """The same request with the same key is the same job, also after a restart; another request is refused."""
    submission = Submission(GenerationRequest("demo", id="a", inputs={"image": (b"x",)}))
    first = await house.queue.accept([submission], "key")
    again = await house.queue.accept([replace(submission, request=replace(submission.request, id="b"))], "key")
    await house.restart()
    later = await house.queue.accept([submission], "key")
    other = replace(submission, request=replace(submission.request, inputs={"image": (b"y",)}))
    with pytest.raises(IdempotencyError):
        await house.queue.accept([other], "key")
    token = current_client.set("another")
    third = await house.queue.accept([replace(other, request=replace(other.request, id="c"))], "key")
    current_client.reset(token)

    assert [False, True, True, False] == [each.replayed for each in (first, again, later, third)]
    assert ["a", "a", "a", "c"] == [each.jobs[0].id for each in (first, again, later, third)]
    await house.ended("a", "c")
    assert ["a", "c"] == sorted(house.runs.order)


async def test_requests_with_one_key_come_at_once(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """All return the jobs of the first one that is stored, whose ids are in use while the others are checked."""
    requests = [Submission(GenerationRequest("demo", id=name, seed=3)) for name in ("a", "b")]
    validate, begun, stored = house.runs.validate, itertools.count(), asyncio.Event()

    async def validate_late(request: GenerationRequest) -> GenerationRequest:
        if request.id == "a" and next(begun):
            await stored.wait()
        return await validate(request)

    async def accept() -> Acceptance:
        accepted = await house.queue.accept(requests, "key", batch=True)
        stored.set()
        return accepted

    monkeypatch.setattr(house.runs, "validate", validate_late)
    found = await asyncio.gather(*(accept() for _ in range(3)))

    assert [False, True, True] == sorted(each.replayed for each in found)
    assert {("a", "b")} == {tuple(job.id for job in each.jobs) for each in found}
    await house.ended("a", "b")


async def test_a_key_ends_with_its_job(house: House) -> None:
    """A job that has expired does not exist, whether it is deleted already or not: a repeated request runs again."""
    await house.accept("a", key="k")
    await house.ended("a")
    house.now += 24 * 3600
    again = await house.queue.accept([Submission(GenerationRequest("demo", id="b", seed=3))], "k")

    assert (False, ["b"]) == (again.replayed, [job.id for job in again.jobs])
    assert ["b"] == [job.id for job in await house.queue.list(JobQuery())]
    assert "completed" == (await house.ended("b"))[0].status


async def test_a_key_stays_with_the_rest_of_a_batch(house: House) -> None:
    """Where its first jobs are deleted, or expire earlier, the batch does not run again."""
    batch = [Submission(GenerationRequest("demo", id=name, seed=3)) for name in "abc"]
    house.runs.automatic = False
    await house.queue.accept(batch, "k", batch=True)
    for name in "abc":
        house.runs.end_of(name).set()
        await house.ended(name)
        house.now += 10
    replayed = []
    await house.queue.delete("a")
    replayed.append(await house.queue.accept(batch, "k", batch=True))
    house.now += 24 * 3600 - 15
    replayed.append(await house.queue.accept(batch, "k", batch=True))
    await house.queue.results.delete_expired()
    replayed.append(await house.queue.accept(batch, "k", batch=True))
    await house.queue.delete("c")
    house.runs.automatic = True

    assert [["b", "c"], ["c"], ["c"]] == [[job.id for job in each.jobs] for each in replayed]
    assert [True] * 3 == [each.replayed for each in replayed]
    assert not (await house.queue.accept(batch, "k", batch=True)).replayed


async def test_a_key_at_two_requests_at_a_time(house: House, dropped: list[str]) -> None:
    """One is accepted; the media of the other one are deleted."""
    submission = Submission(GenerationRequest("demo", id="a", inputs={"image": (b"x",)}))
    accepted = await asyncio.gather(*(house.queue.accept([submission], "key") for _ in range(2)))

    assert [False, True] == sorted(each.replayed for each in accepted)
    assert 1 == len(dropped)


async def leave(request: Coroutine[Any, Any, object], condition: Callable[[], object]) -> None:
    """Begin a request, and leave as a client does once a condition holds."""
    task = asyncio.create_task(request)
    end = time.monotonic() + LIMIT
    while not condition() and time.monotonic() < end:  # noqa: ASYNC110 (a state that may last for one step of the loop)
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_job_runs_whose_client_leaves_while_it_is_stored(house: House) -> None:
    """No later request is needed to start it, whether it is new or retried."""
    await house.queue.open()
    await leave(house.accept("a"), lambda: len(house.queue._live))
    await until(lambda: house.runs.order == ["a"])
    house.runs.error = GenerationError("Bad.")
    await house.accept("b")
    await house.ended("b")
    house.runs.error = None
    await leave(house.queue.retry("b"), lambda: "b" in house.queue._live)

    await until(lambda: house.runs.order == ["a", "b", "b"])
    assert ["completed"] * 2 == [job.status for job in await house.ended("a", "b")]


async def test_a_client_that_leaves_while_a_job_is_cancelled(house: House) -> None:
    """The job ends, and a later run of it that is taken back from the engine waits again."""
    house.runs.automatic = False
    await house.accept("run", "a")
    await house.runs.started("run")
    await until(lambda: "a" in house.queue._dispatcher._tasks)
    await leave(house.queue.cancel("a"), lambda: "a" in house.queue._dispatcher._cancelled)
    await until(lambda: "a" not in house.queue._live)
    await house.queue.retry("a")
    await house.queue.controls.pause()
    assert "queued" == (await house.queue.find("a")).status
    house.runs.automatic = True
    house.runs.end_of("run").set()
    await house.queue.controls.resume()

    assert "completed" == (await house.ended("a"))[0].status


async def test_what_cannot_be_stored_leaves_no_files(
    house: House, dropped: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The media that were written before the database failed are deleted."""

    async def fail(*_: object) -> None:
        raise JobStoreError("Full.")

    monkeypatch.setattr(house.queue.store, "accept", fail)
    with pytest.raises(JobStoreError, match="Full"):
        await house.accept("a", inputs={"image": (b"x",)})

    assert 1 == len(dropped)
    assert [] == [*(house.folder / "jobs" / "files").iterdir()]


async def test_a_batch_is_accepted_whole_or_not(house: House) -> None:
    """One invalid request refuses all, and is named; jobs of a batch are found by it."""
    good, bad = (Submission(GenerationRequest(model)) for model in ("demo", "nothing"))
    with pytest.raises(InvalidParameterError, match="Request 1 of the batch: Bad"):
        await house.queue.accept([good, bad], batch=True)
    accepted = await house.queue.accept([good, replace(good, request=GenerationRequest("demo"))], batch=True)
    listed = await house.queue.list(JobQuery(batch=accepted.jobs[0].batch, newest_first=False))

    assert [job.id for job in accepted.jobs] == [job.id for job in listed]
    assert 2 == len(await house.queue.list(JobQuery()))


async def test_the_order_of_many_jobs_is_found_once(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """To accept, list and follow them takes as often as for one: each order of a thousand jobs delays all other clients."""
    house.runs.automatic = False
    orders: list[int] = []
    find_order = ClientTurns.ordered

    def counted(self: ClientTurns, full: Collection[str] = ()) -> Iterator[StoredJob]:
        jobs = [*find_order(self, full)]
        orders.append(len(jobs))
        return iter(jobs)

    monkeypatch.setattr(ClientTurns, "ordered", counted)
    await house.queue.open()
    await house.queue.controls.pause()
    requests = [GenerationRequest("demo", id=f"{index}") for index in range(40)]
    accepted = await house.queue.accept([Submission(each) for each in requests], "key", batch=True)
    again = await house.queue.accept([Submission(each) for each in requests], "key", batch=True)
    listed = await house.queue.list(JobQuery(newest_first=False))
    shown = [[job.progress.position for job in jobs] for jobs in (accepted.jobs, again.jobs, listed)]
    assert [[*range(40)]] * 3 == shown
    assert [40] * 3 == orders
    followed = [await house.queue.follow(each.id) for each in requests]
    first = [await anext(each) for each in followed]
    orders.clear()
    await house.queue.controls.change(listed[39], position="first")
    moved = await asyncio.wait_for(asyncio.gather(*map(anext, followed)), LIMIT)

    assert [None] * 40 == [event.progress for event in first]
    assert [*range(1, 40), 0] == [event.progress and event.progress.position for event in moved]
    assert [40] == orders
    await asyncio.gather(*(each.aclose() for each in followed))


async def test_positions_are_sent_a_few_times_a_second(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many jobs end meanwhile; the last one that is sent is the current one, and without followers none is found."""
    monkeypatch.setattr(positions, "INTERVAL", 0.1)
    await house.queue.open()
    await house.queue.controls.pause()
    await house.accept(*(f"{index}" for index in range(41)))
    events = await house.queue.follow("40")
    assert not (await anext(events)).final
    received: list[int] = []

    async def receive() -> None:
        async for event in events:
            received.extend([event.progress.position] if event.progress else [])

    receiving = asyncio.create_task(receive())
    for index in range(40):
        await house.queue.cancel(f"{index}")
    await until(lambda: received and received[-1] == 0)
    timer = house.queue._dispatcher._positions._timer
    receiving.cancel()
    await asyncio.gather(receiving, return_exceptions=True)
    await until(lambda: house.queue._dispatcher._positions._timer is None)

    assert timer is not None
    assert len(received) < 30
    assert not house.queue._live._followed


async def test_quotas_and_limits(house: House) -> None:
    """A client has so many jobs that wait or run, and all clients together; a refusal names the setting and a time."""
    house.runs.automatic = False
    await house.restart(per_client=2, waiting=3)
    await house.accept("a", "b", client="a")
    with pytest.raises(JobQuotaError, match="job_quota") as quota:
        await house.accept("c", client="a")
    await house.accept("d", client="b")
    with pytest.raises(QueueFullError, match="max_jobs"):
        await house.accept("e", client="c")

    assert quota.value.retry_after > 0
    with pytest.raises(InvalidParameterError, match="'a' is waiting or running"):
        await house.accept("a", client="z")


@pytest.mark.parametrize(("limits", "error"), [({"per_client": 2}, JobQuotaError), ({"waiting": 2}, QueueFullError)])
async def test_limits_hold_for_requests_at_a_time(house: House, limits: dict[str, int], error: type[Exception]) -> None:
    """What is being stored has its room already, and what could not be stored has none."""
    house.runs.automatic = False
    await house.restart(**limits)
    store = house.queue.store.accept
    outcomes = await asyncio.gather(*(house.accept(f"{index}") for index in range(6)), return_exceptions=True)
    assert [True] * 2 + [False] * 4 == [outcome is None for outcome in outcomes]
    assert all(isinstance(each, error) for each in outcomes[2:])
    await house.queue.cancel("0")

    async def fail(*_: object) -> Any:
        raise JobStoreError("Full.")

    house.queue.store.accept = fail  # type: ignore[method-assign, assignment]
    with pytest.raises(JobStoreError):
        await house.accept("a")
    house.queue.store.accept = store  # type: ignore[method-assign]
    await house.accept("b")
    with pytest.raises(error):
        await house.accept("c")


async def test_a_retry_that_cannot_be_stored(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """The job stays as it was: it can be retried later, and its batch ends with it."""
    house.runs.error = InvalidParameterError("Bad.")
    batch = [Submission(GenerationRequest("demo", id="a"))]
    await house.queue.accept(batch, batch=True)
    await house.ended("a")
    house.runs.error = None

    async def fail(*_: object, **__: object) -> Any:
        raise JobStoreError("Full.")

    with monkeypatch.context() as patch:
        patch.setattr(house.queue.store, "queue_again", fail)
        with pytest.raises(JobStoreError, match="Full"):
            await house.queue.retry("a")
    assert "failed" == (await house.queue.find("a")).status
    assert 0 == len(house.queue._live)
    await house.queue.retry("a")

    assert "completed" == (await house.ended("a"))[0].status


async def test_a_full_queue_of_the_engine_is_no_failure(house: House) -> None:
    """Requests that clients wait for may fill it; the job is sent again later."""
    house.runs.refuses = 2
    await house.accept("a")

    assert "completed" == (await house.ended("a"))[0].status


@pytest.mark.parametrize(("retry_after", "status"), [(0.01, "completed"), (None, "failed")])
async def test_a_job_waits_while_its_model_has_no_room(house: House, retry_after: float | None, status: str) -> None:
    """Models in use keep its place; where trying again is of no use, it fails."""
    house.runs.error = CapacityError("There was no room for model 'demo'.")
    house.runs.error.retry_after = retry_after
    await house.accept("a")
    await house.runs.started("a")
    await until(lambda: not house.queue._dispatcher._tasks)
    house.runs.error = None

    assert status == (await house.ended("a"))[0].status


class Refusals(Runs):
    """Refuses requests until a test makes room, with a time that clients are told while many of them are refused."""

    def __init__(self) -> None:
        super().__init__()
        self.room, self.refused = False, list[str]()

    async def stream(self, request: GenerationRequest, models: Models | None = None) -> AsyncGenerator[Event, None]:
        """Refuse a request, or run it."""
        if not self.room:
            self.refused.append(request.id)
            raise QueueFullError("Full.", retry_after=640)
        async for event in super().stream(request):
            yield event


async def test_jobs_run_soon_after_there_is_room(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever clients are told, one job tries every few seconds, so that these are not told later times for jobs."""
    monkeypatch.setattr(errors, "MAX_PAUSE", 0.2)
    house.runs = runs = Refusals()
    house.queue = house.opened()
    await house.queue.open()
    await house.queue.controls.pause()
    await house.accept(*"abcdef")
    await house.queue.controls.resume()
    await until(lambda: len(runs.refused) >= 9 and {*"abcdef"} == {*runs.refused})
    again = Counter(runs.refused) - Counter("abcdef")
    runs.room = True
    jobs = await asyncio.wait_for(house.ended(*"abcdef"), LIMIT)

    assert {"a"} == {*again}
    assert ["completed"] * 6 == [job.status for job in jobs]
    assert not house.queue._dispatcher._holds.models


async def test_a_server_that_stops_fails_no_job(house: House) -> None:
    """The engine ends the runs; they run again on the next server."""
    house.runs.error = ServerStoppingError()
    await house.accept("a")
    await house.runs.started("a")
    await until(lambda: not house.queue._dispatcher._tasks)
    house.runs.error = None
    await house.restart()

    assert "completed" == (await house.ended("a"))[0].status


async def test_events_are_followed_from_any_point(house: House) -> None:
    """A client that connects again receives what it has missed, and nothing twice."""
    house.runs.automatic = False
    await house.accept("a")
    await house.runs.started("a")
    events = await house.queue.follow("a")
    first = await anext(events)
    house.runs.end_of("a").set()
    rest = [event async for event in events]
    assert first.progress is None
    assert [True] == [event.final for event in rest if event.final]
    numbers = [event.id for event in rest]
    assert sorted(numbers) == numbers
    house.runs.automatic = True
    await house.accept("b")
    log = await house.queue.follow("b", after=10**6 // 2)
    every = [event async for event in log]
    after = [event for event in every if event.id > every[1].id]

    assert [event.id for event in every] == sorted({event.id for event in every})
    assert after == every[2:]


async def test_only_the_last_previews_are_kept() -> None:
    """However slow a follower is, and however many events are kept: a preview is an image, and a job may have a hundred."""
    log = EventLog(1)
    slow = log.follow(None)
    assert (await anext(slow)).progress is None
    for step in range(20):
        preview = Artifact("image", "image/png", b"x", 1, {})
        log.publish(Progress("running", step, 20, preview=preview if step % 2 else None))
    log.publish(final=True)
    late = log.follow(log._events[0].id)
    followed = [[event async for event in slow], [event async for event in late]]
    steps = [[each.progress.step for each in events if each.progress and each.progress.preview] for events in followed]
    kept = [event.progress.step for event in log._events if event.progress]

    assert [[13, 15, 17, 19]] * 2 == steps
    assert [*range(20)] == kept


class Calls(Runs):
    """Runs requests as calls of an engine, whose worker ends each when a test wants that."""

    def __init__(self) -> None:
        super().__init__()
        self.workers = fake_worker.FakeWorkers(runs=False)
        self.engine = fake_worker.engine_of(self.workers)

    async def stream(self, request: GenerationRequest, models: Models | None = None) -> AsyncGenerator[Event, None]:
        """Run the call of a request."""
        call = replace(fake_worker.call(), client=current_client.get(), priority=current_priority.get())
        async with contextlib.aclosing(self.engine.generate(replace(call, id=request.id))) as events:
            async for event in events:
                yield event

    async def waiting(self, count: int) -> None:
        """Wait until so many calls wait in the queue of the engine."""
        await until(lambda: (queue := self.engine._queues.find("demo")) is not None and len(queue._waiting) == count)

    def of_queue(self) -> set[str]:
        """Return the ids of the calls that wait in the queue of the engine."""
        queue = self.engine._queues.find("demo")
        return {each.call.id for each in queue._waiting if each.call} if queue else set()

    async def run(self, worker: fake_worker.FakeWorker, running: Call, count: int) -> list[str]:
        """End the call that runs and those that follow, and return their ids."""
        order = [running.id]
        while len(order) < count:
            worker.finish(running)
            running = await worker.next_call()
            worker.start_run(running)
            order.append(running.id)
        return order


@pytest.fixture
async def served(house: House) -> AsyncIterator[House]:
    """Return an empty queue over an engine with fake workers."""
    house.runs = calls = Calls()
    house.queue = house.opened()
    yield house
    await house.queue.close()
    await calls.engine.close()


async def test_priority_then_turns_then_place(served: House) -> None:
    """Jobs of a higher priority run first; clients take turns; a client's own jobs keep their order."""
    calls = served.runs
    assert isinstance(calls, Calls)
    await served.accept("run", client="c")
    worker = await calls.workers.next_started()
    running = await worker.next_call()
    worker.start_run(running)
    await served.accept("a1", "a2", "a3", client="a")
    await served.accept("b1", "b2", client="b")
    await served.accept("a4", client="a", priority=5)
    await served.accept("b3", client="b", priority=-1)
    await calls.waiting(7)

    assert ["run", "a4", "a1", "b1", "a2", "b2", "a3", "b3"] == await calls.run(worker, running, 8)


async def test_a_client_with_two_jobs_waits_for_two_runs_of_one_with_two_hundred(served: House) -> None:
    """Over the engine, whose queue has some jobs of the greedy client already."""
    calls = served.runs
    assert isinstance(calls, Calls)
    requests = [Submission(GenerationRequest("demo", id=f"many {index}")) for index in range(200)]
    token = current_client.set("many")
    await served.queue.accept(requests, batch=True)
    current_client.reset(token)
    worker = await calls.workers.next_started()
    running = await worker.next_call()
    worker.start_run(running)
    await calls.waiting(7)
    await served.accept("few 0", "few 1", client="few")
    await calls.waiting(9)

    assert ["many 0", "many 1", "few 0", "many 2", "few 1"] == await calls.run(worker, running, 5)


async def test_a_client_has_no_more_places_by_several_priorities(served: House) -> None:
    """The engine has at most eight jobs of a client, those of the highest priorities, and half of its places remain free."""
    calls = served.runs
    assert isinstance(calls, Calls)
    await served.accept("run", client="c")
    worker = await calls.workers.next_started()
    worker.start_run(running := await worker.next_call())
    waiting: list[int] = []
    for priority in range(6):
        await served.accept(*(f"{priority}.{index}" for index in range(8)), client="many", priority=priority)
        await calls.waiting(8)
        waiting.append(len(calls.of_queue()))
    last = calls.of_queue()
    order = await calls.run(worker, running, 18)

    assert [8] * 6 == waiting
    assert {f"5.{index}" for index in range(8)} == last
    assert ["run", *(f"{priority}.{index}" for priority in (5, 4) for index in range(8)), "3.0"] == order


async def test_a_higher_priority_takes_the_place_of_a_lower_one(served: House) -> None:
    """Where all places of background jobs are taken, the last one that was sent of the lowest priority waits again."""
    calls = served.runs
    assert isinstance(calls, Calls)
    await served.accept("run", client="c")
    worker = await calls.workers.next_started()
    worker.start_run(running := await worker.next_call())
    await served.accept(*(f"a{index}" for index in range(8)), client="a")
    await served.accept(*(f"b{index}" for index in range(8)), client="b", priority=-1)
    await calls.waiting(15)
    before = calls.of_queue()
    await served.accept("first", client="d", priority=1)
    await until(lambda: "first" in calls.of_queue())
    after = calls.of_queue()

    assert ({"b6"}, {"first"}) == (before - after, after - before)
    assert "queued" == (await served.queue.find("b6")).status
    ran = await calls.run(worker, running, 18)
    assert ["run", "first", *(f"a{index}" for index in range(8)), *(f"b{index}" for index in range(8))] == ran


@pytest.fixture
async def servers(house: House) -> AsyncIterator[Servers]:
    """Return two servers that share a folder."""
    both = Servers(house)
    await both.open()
    yield both
    await both.close()


async def test_servers_share_a_store(servers: Servers) -> None:
    """A job runs at the server that accepted it; when that is killed, the other one takes it over at once."""
    await check_sharing(servers)


#: Returns how many threads of stores run since the start of the test, and how many files this process has open.
Used = Callable[[], tuple[int, int]]


@pytest.fixture
def used() -> Used:
    """Return the function; other tests may have left threads."""
    earlier = {*threading.enumerate()}

    def count() -> tuple[int, int]:
        threads = [each for each in threading.enumerate() if each.name == "job store" and each not in earlier]
        return len(threads), len([*Path("/dev/fd").iterdir()])

    return count


async def test_what_cannot_be_opened_leaves_nothing(tmp_path: Path, used: Used) -> None:
    """Each request tries it again; a server that is refused holds no thread, no file and no connection meanwhile."""
    url = f"sqlite:///{tmp_path}/shared.sqlite"
    one, two = (House(tmp_path / name) for name in ("one", "two"))
    for house in (one, two):
        house.folder.mkdir()
        house.queue = JobQueue(house.runs, JobStore(url, house.folder), clock=lambda: one.now)
    await one.queue.open()
    seen = []
    for _ in range(3):
        with pytest.raises(JobStoreError, match="data_dir"):
            await two.queue.find("a")
        seen.append(used())
    # SQLite itself keeps a file of the first attempt for the next one.
    assert [(1, seen[0][1])] * 3 == seen
    assert [] == [*(two.folder / "jobs" / "servers").iterdir()]
    await one.queue.close()
    await two.accept("a")
    assert "completed" == (await two.ended("a"))[0].status
    await two.queue.close()

    assert 0 == used()[0]


@pytest.mark.parametrize("name", ["last_place", "sweep", "take_over"])
async def test_a_store_that_fails_while_it_is_opened(
    used: Used, house: House, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """The server is not one of those that use it, and holds nothing; the next attempt finds all jobs."""

    async def fail(*_: object) -> Any:
        raise JobStoreError("Full.")

    house.runs.automatic = False
    await house.accept("a")
    await house.queue.close()
    house.runs.automatic, house.queue = True, house.opened()
    with monkeypatch.context() as patch:
        patch.setattr(house.queue.store, name, fail)
        with pytest.raises(JobStoreError, match="Full"):
            await house.queue.open()
    assert 0 == used()[0]
    assert [] == [*(house.folder / "jobs" / "servers").iterdir()]
    assert "completed" == (await house.ended("a"))[0].status
    assert () == (await house.queue.store.renew(0, 1e9)).others


async def test_a_client_that_leaves_does_not_end_the_opening(used: Used, house: House) -> None:
    """The store is opened once, for all who wait for it."""
    first = asyncio.create_task(house.queue.open())
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    await house.accept("a")

    assert "completed" == (await house.ended("a"))[0].status
    assert 1 == used()[0]


@pytest.mark.parametrize(("limits", "error"), [({"per_client": 2}, JobQuotaError), ({"waiting": 2}, QueueFullError)])
async def test_limits_hold_for_all_servers(house: House, limits: dict[str, int], error: type[Exception]) -> None:
    """Those that share a store count the jobs of all of them, also for a retry."""
    houses = (house, House(house.folder))
    for each in houses:
        each.queue = each.opened(**limits)
        each.runs.automatic = False
        await each.queue.open()
    for each in houses:
        await each.queue.lease.renew()
    one, two = houses
    await one.accept("a")
    await two.accept("b")
    for each in houses:
        with pytest.raises(error, match="2 background jobs"):
            await each.accept("c", inputs={"image": (b"x",)})
    await one.queue.cancel("a")
    await two.accept("c")
    with pytest.raises(error):
        await one.queue.retry("a")

    assert "cancelled" == (await one.queue.find("a")).status
    assert [] == [*(house.folder / "jobs" / "files").iterdir()]
    await two.queue.close()


def move_elsewhere(*houses: House) -> None:
    """Let servers be on another machine, so that the others know of their end only by their leases."""
    for house in houses:
        with contextlib.closing(
            sqlite3.connect(house.folder / "jobs" / "jobs.sqlite", isolation_level=None)
        ) as database:
            database.execute("UPDATE servers SET host = 'elsewhere' WHERE id = ?", (house.queue.store.server,))


async def is_running(house: House, name: str) -> None:
    """Wait until it is on disk that a job runs."""
    while (await house.queue.store.find(name)).status != "in_progress":  # type: ignore[union-attr]  # noqa: ASYNC110
        await asyncio.sleep(0.005)


async def pass_time(servers: Servers, seconds: int, *renewing: House) -> None:
    """Let time pass, in which some servers renew their leases regularly."""
    for _ in range(0, seconds, 10):
        servers.one.now += 10
        for house in renewing:
            await house.queue.lease.renew()


async def test_a_lease_that_ends(servers: Servers, dropped: list[str]) -> None:
    """A server that does not renew it loses its jobs, whose results it does not record; it goes on with a new lease."""
    one, two = servers.one, servers.two
    move_elsewhere(one)
    one.runs.automatic = two.runs.automatic = False
    await one.accept("a")
    await is_running(one, "a")
    await pass_time(servers, 40, two)
    await two.runs.started("a")
    one.runs.end_of("a").set()
    await until(lambda: not one.queue._dispatcher._tasks)
    before = await two.queue.store.find("a")
    assert not await one.queue.lease.renew()
    two.runs.end_of("a").set()
    await two.ended("a")
    files = [*(one.folder / "jobs" / "files").iterdir()]
    one.runs.automatic = True
    await one.accept("b")

    assert ["completed", "completed"] == [job.status for job in await one.ended("a", "b")]
    assert [1, 1, "a"] == [len(files), len(dropped), two.runs.order[0]]
    assert before
    assert (1, 2) == (before.losses, (await one.queue.find("a")).attempts)


async def test_a_server_that_lives_loses_no_run(servers: Servers) -> None:
    """Its lease may end while its machine sleeps or another server is faster; the run that is taken over is no loss then."""
    one, two = servers.one, servers.two
    move_elsewhere(one)
    one.runs.automatic = two.runs.automatic = False
    await one.accept("a")
    await is_running(one, "a")
    await pass_time(servers, 40, two)
    await two.runs.started("a")
    counted = await two.queue.store.find("a")
    assert not await one.queue.lease.renew()
    forgiven = await two.queue.store.find("a")

    assert counted
    assert forgiven
    assert (1, 0) == (counted.losses, forgiven.losses)
    two.runs.end_of("a").set()


async def test_a_download_that_is_taken_over_forgives_no_loss(servers: Servers) -> None:
    """The server that lives takes back only the loss of a run of its own."""
    one, two = servers.one, servers.two
    move_elsewhere(one)
    two.runs.automatic = False
    one.queue._dispatcher._generation = Phases(["downloading"])
    await one.accept("a")
    await is_running(one, "a")
    await one.queue.store.change(await one.queue.find("a"), losses=1)
    await pass_time(servers, 40, two)
    await two.runs.started("a")
    assert not await one.queue.lease.renew()
    found = await two.queue.store.find("a")

    assert found
    assert 1 == found.losses
    two.runs.end_of("a").set()


async def test_an_outage_of_the_store_ends_no_server(servers: Servers) -> None:
    """Whoever renews its lease first after it gives the others the time of a lease; one that has ended then is removed."""
    one, two = servers.one, servers.two
    move_elsewhere(one, two)
    two.runs.automatic = False
    await two.accept("a")
    await is_running(two, "a")
    for _ in range(2):
        one.now += 35
        assert not await one.queue.lease.renew()  # There is another one.
        await one.queue.lease.renew()
        await two.queue.lease.renew()
    held = await one.queue.store.find("a")
    await end_abruptly(two.queue)
    await pass_time(servers, 20, one)
    kept = await one.queue.store.find("a")
    await pass_time(servers, 20, one)
    await one.ended("a")

    assert held
    assert kept
    assert (0, 0) == (held.losses, kept.losses)
    assert [["a"], ["a"]] == [one.runs.order, two.runs.order]
    two.queue = JobQueue(two.runs, JobStore(None, one.folder), clock=lambda: one.now)


async def test_a_server_of_the_same_machine_is_not_removed_while_its_process_runs(servers: Servers) -> None:
    """However late it renews its lease, such as after a long computation: its lock shows that it has not ended."""
    one, two = servers.one, servers.two
    one.runs.automatic = False
    await one.accept("a")
    await is_running(one, "a")
    await pass_time(servers, 60, two)
    found = await two.queue.store.find("a")

    assert await one.queue.lease.renew() is False  # There is another one, as before.
    assert found
    assert (one.queue.store.server, 0, []) == (found.server, found.losses, two.runs.order)
    one.runs.end_of("a").set()
    await one.ended("a")


async def test_a_lease_is_renewed_after_an_unexpected_failure(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as one of the configuration, or of a process that has too many files open; others take the jobs over otherwise."""
    monkeypatch.setattr(keeper, "SHARED_INTERVAL", 0.005)
    monkeypatch.setattr(keeper, "ALONE_INTERVAL", 0.005)
    await house.queue.open()
    renew, failures = house.queue.store.renew, [OSError(24, "Too many open files"), RuntimeError("Unexpected.")]
    renewed: list[float] = []

    async def fail(now: float, until: float) -> Any:
        if failures:
            raise failures.pop()
        renewed.append(until)
        return await renew(now, until)

    monkeypatch.setattr(house.queue.store, "renew", fail)
    await until(lambda: renewed)

    assert not failures


async def test_an_id_of_another_server_in_a_batch(servers: Servers) -> None:
    """It is found when the batch is stored, and named like what is found before."""
    one, two = servers.one, servers.two
    one.runs.automatic = False
    await one.accept("a")
    batch = [Submission(GenerationRequest("demo", id=name)) for name in "ba"]

    with pytest.raises(InvalidParameterError, match=r"Request 1 of the batch: A request 'a' is waiting or running\."):
        await two.queue.accept(batch, batch=True)


async def test_jobs_of_another_server_are_cancelled(servers: Servers) -> None:
    """The server that runs one does so when it renews its lease; its order can be changed there only."""
    one, two = servers.one, servers.two
    one.runs.automatic = False
    await one.accept("a", "b")
    await is_running(one, "a")
    with pytest.raises(JobStateError, match="'b' waits at another server"):
        await two.queue.controls.change(await two.queue.find("b"), priority=1)
    with pytest.raises(JobStateError, match="'a' is in_progress"):
        await two.queue.controls.change(await two.queue.find("a"), priority=1)
    cancelling = asyncio.create_task(two.queue.cancel("b"))
    await asyncio.sleep(0.05)
    await one.queue.lease.renew()

    assert "cancelled" == (await cancelling).status
    await two.queue.retry("b")
    assert "completed" == (await two.ended("b"))[0].status


@pytest.mark.parametrize("statement", ["queue_again", "request_cancel"])
async def test_a_request_does_not_reach_a_new_job_with_the_id(
    servers: Servers, monkeypatch: pytest.MonkeyPatch, statement: str
) -> None:
    """That another server has accepted after the end of the job that the request is for."""
    one, two = servers.one, servers.two
    run, begun = one.queue.store._run, list[str]()
    two.runs.automatic, two.runs.error = False, GenerationError("Bad.")
    await two.accept("a")
    await is_running(two, "a")
    if statement == "queue_again":
        two.runs.end_of("a").set()
        await two.ended("a")

    async def run_late(name: str, *args: Any) -> Any:
        begun.append(name)
        two.runs.end_of("a").set()
        await two.ended("a")
        await two.queue.delete("a")
        if statement == "request_cancel":
            two.runs.end_of("a").clear()
        await two.accept("a", seed=8)
        await (is_running(two, "a") if statement == "request_cancel" else two.ended("a"))
        return await run(name, *args)

    def wait(name: str, *args: Any) -> asyncio.Future[Any]:
        return run(name, *args) if name != statement else asyncio.ensure_future(run_late(name, *args))

    monkeypatch.setattr(one.queue.store, "_run", wait)
    if statement == "queue_again":
        with pytest.raises(JobStateError, match="retried or deleted by another request"):
            await one.queue.retry("a")
    else:
        await one.queue.cancel("a")
        await two.queue.lease.renew()
    job = await two.queue.find("a")

    assert begun
    assert (8, "failed" if statement == "queue_again" else "in_progress") == (job.request.seed, job.status)
    assert [] == one.runs.order
    two.runs.end_of("a").set()


async def test_the_end_of_a_job_has_the_same_id_at_all_servers(servers: Servers) -> None:
    """It is higher than those of the statuses before it, so that a client that has these receives the end."""
    one, two = servers.one, servers.two
    one.runs.automatic = False
    await one.accept("a")
    await one.runs.started("a")
    followed = [await house.queue.follow("a") for house in (one, two)]
    first = [await anext(events) for events in followed]
    one.runs.end_of("a").set()
    rest = [each[-1] for each in ([event async for event in followed[0]], [event async for event in followed[1]])]

    assert [False, False] == [event.final for event in first]
    assert [(end_number(1), True)] * 2 == [(event.id, event.final) for event in rest]
    assert all(event.id < end_number(1) for event in first)


async def test_a_job_that_another_server_has_taken_over_has_not_ended(house: House) -> None:
    """The streams of its followers end with an event whose id is not that of its end, so that they continue elsewhere."""
    house.runs.automatic = False
    await house.accept("a")
    await house.runs.started("a")
    events = await house.queue.follow("a")
    await anext(events)
    await house.queue._dispatcher.abandon()
    rest = [event async for event in events]

    assert rest[-1].final
    assert rest[-1].id < end_number(1)


async def test_a_pause_holds_the_jobs_of_all_servers(servers: Servers) -> None:
    """Each server learns of it when it renews its lease; what one has paused stays when another one changes others."""
    one, two = servers.one, servers.two
    one.runs.automatic = False
    await one.accept("run", "sent")
    await one.runs.started("run")
    await one.queue.controls.pause("one")
    await two.queue.controls.pause("two")
    await two.queue.controls.pause()
    assert ["*", "one", "two"] == two.queue.controls.paused
    await one.queue.lease.renew()
    one.runs.end_of("run").set()
    await one.ended("run")
    await two.accept("held")
    assert ["*", "one", "two"] == one.queue.controls.paused
    with pytest.raises(JobStateError, match="All models are paused"):
        await one.queue.controls.resume("two")
    assert (["run"], []) == (one.runs.order, two.runs.order)
    one.runs.automatic = True
    await one.queue.controls.resume()
    await two.queue.controls.pause("two")
    await two.ended("held")

    assert "completed" == (await one.ended("sent"))[0].status
    await one.queue.controls.resume("two")
    await two.queue.lease.renew()
    assert [] == two.queue.controls.paused


def known_other(model: str) -> str:
    """Return the name of the only model."""
    if model != "other":
        raise ModelNotFoundError("There is none.")
    return model


async def test_models_of_another_server(servers: Servers) -> None:
    """Jobs of a model that a server does not have wait for one that has it."""
    one, two = servers.one, servers.two
    one.runs.automatic = False
    two.queue.lease._holder._name_of = known_other  # type: ignore[attr-defined]
    third = House(one.folder)
    third.queue = JobQueue(third.runs, JobStore(None, one.folder), clock=lambda: one.now)
    await third.queue.open()
    await one.accept("a")
    await one.runs.started("a")
    await end_abruptly(one.queue)
    await two.queue.lease.renew()
    assert [] == two.runs.order
    await third.queue.lease.renew()
    await third.ended("a")
    await third.queue.close()

    assert ["a"] == third.runs.order


async def test_a_job_whose_model_no_server_has_is_cancelled(servers: Servers) -> None:
    """By any server, since none will ever run it; others of its model wait still, for a server that has it."""
    one, two = servers.one, servers.two
    one.runs.automatic = False
    for house in (one, two):
        house.queue.lease._holder._name_of = known_other  # type: ignore[attr-defined]
    third = House(one.folder)
    third.runs.automatic = False
    third.queue = JobQueue(third.runs, JobStore(None, one.folder), clock=lambda: one.now)
    await third.accept("ran", "a", "b")
    await third.runs.started("ran")
    await end_abruptly(third.queue)
    await two.queue.lease.renew()
    for name in ("ran", "a"):
        deleting = asyncio.create_task(two.queue.delete(name))
        await until(lambda name=name: _is_to_be_cancelled(one, name))  # type: ignore[misc]
        await one.queue.lease.renew()
        assert "cancelled" == (await deleting).status
        with pytest.raises(GenerationNotFoundError):
            await two.queue.find(name)

    assert "queued" == (await two.queue.find("b")).status
    assert ([], []) == (one.runs.order, two.runs.order)


def _is_to_be_cancelled(house: House, name: str) -> bool:
    """Return whether another server has requested to cancel a job."""
    with contextlib.closing(sqlite3.connect(house.folder / "jobs" / "jobs.sqlite")) as database:
        return bool(database.execute("SELECT cancel_requested FROM jobs WHERE id = ?", (name,)).fetchone()[0])


async def test_jobs_belong_to_their_client(house: House) -> None:
    """With API keys, a client sees its own jobs; an administrator sees all."""
    await house.accept("a", client="one")
    await house.accept("b", client="two")
    await house.ended("a", "b")

    async def seen(client: str | None) -> tuple[list[str], int]:
        token = visible_client.set(client)
        try:
            return [job.id for job in await house.queue.list(JobQuery())], sum((await house.queue.counts()).values())
        finally:
            visible_client.reset(token)

    assert [(["a"], 1), (["b"], 1), (["b", "a"], 2)] == [await seen("one"), await seen("two"), await seen(None)]
    visible_client.set("two")
    for operation in (house.queue.find, house.queue.follow, house.queue.cancel, house.queue.delete, house.queue.retry):
        with pytest.raises(GenerationNotFoundError):
            await operation("a")
    with pytest.raises(InvalidParameterError):
        await house.accept("a", client="two")
    assert 1 == await prune(house.queue, JobQuery())


async def test_the_oldest_results_expire(house: House) -> None:
    """When all have more bytes than the limit; the error says so, of the job and of its file."""
    await house.restart(bytes=3)
    for index, name in enumerate("abcd"):
        house.now += index
        await house.accept(name, seed=7)
        await house.ended(name)
    a, b = [await house.queue.find(name) for name in "ab"]
    await until(lambda: len([*(house.folder / "jobs" / "files").iterdir()]) == 3)

    assert isinstance(a.error, ResultExpiredError)
    assert ("completed", None, None) == (a.status, a.result, b.error)
    with pytest.raises(ResultExpiredError, match="max_job_bytes"):
        await house.queue.results.check(a.files[0])
    await house.queue.results.check(b.files[0])
    await house.queue.results.check("x")
    assert 3 == await house.queue.store.result_bytes()


class Four(Runs):
    """Runs whose requests have four outputs of two bytes each."""

    async def stream(self, request: GenerationRequest, models: Models | None = None) -> AsyncGenerator[Event, None]:
        """Run one."""
        artifacts = tuple(Artifact("image", "image/png", b"xx", seed, {}) for seed in range(4))
        yield Generation(request.id, request.model, "FakePipeline", "text-to-image", artifacts)


async def test_deleted_outputs_do_not_count(house: House) -> None:
    """The size of the results is that of the files that are left, so that no other result expires for deleted ones."""
    house.runs = Four()
    await house.restart(bytes=18)
    for index, name in enumerate("ab"):
        house.now += index
        await house.accept(name)
        await house.ended(name)
    await delete_outputs(house.queue, [OutputId("b", index) for index in range(3)])
    again = await delete_outputs(house.queue, [OutputId("b", 1)])
    left = await house.queue.store.result_bytes()
    await house.accept("c")
    await house.ended("c")
    await until(lambda: not house.queue._dispatcher._ends)

    assert (10, 1) == (left, len(again.missing))
    assert (await house.queue.find("a")).error is None
    assert 9 == len([*(house.folder / "jobs" / "files").iterdir()])


@pytest.mark.parametrize(
    ("selections", "changed", "left"),
    [(((0, 1), (2, 3)), 4, []), (((0, 1), (1, 2)), 3, [3]), (((3,), (3,)), 1, [0, 1, 2])],
)
async def test_outputs_of_a_job_are_deleted_by_two_requests_at_once(
    house: House, selections: Sequence[Sequence[int]], changed: int, left: list[int]
) -> None:
    """Each output is deleted by one of them, for the other one it is missing; a job without any other is deleted."""
    house.runs = Four()
    await house.restart()
    await house.accept("a")
    await house.ended("a")
    outputs = [[OutputId("a", index) for index in each] for each in selections]
    changes = await asyncio.gather(*(delete_outputs(house.queue, each) for each in outputs))
    jobs = await house.queue.list(JobQuery())

    assert changed == sum(len(each.changed) for each in changes)
    assert sum(map(len, outputs)) - changed == sum(len(each.missing) for each in changes)
    assert ([left] if left else []) == [[index for index in range(4) if index not in each.marks] for each in jobs]
    assert len(left) == len([*(house.folder / "jobs" / "files").iterdir()])


@pytest.mark.parametrize(
    ("statement", "call", "count"), [("mark", 1, 1), ("mark", 1, 4), ("find", 2, 1), ("find", 2, 4), ("remove", 1, 4)]
)
async def test_outputs_of_a_new_job_with_the_id_are_left(
    house: House, monkeypatch: pytest.MonkeyPatch, statement: str, call: int, count: int
) -> None:
    """However far the deletion of those of the former job is when its id is used again."""
    house.runs = Four()
    await house.restart()
    await house.accept("a")
    await house.ended("a")
    run, begun = house.queue.store._run, list[str]()

    async def run_late(name: str, *args: Any) -> Any:
        await house.accept("a", seed=8)
        await house.ended("a")
        return await run(name, *args)

    def wait(name: str, *args: Any) -> asyncio.Future[Any]:
        begun.append(name)
        is_it = name == statement and call == begun.count(name)
        return asyncio.ensure_future(run_late(name, *args)) if is_it else run(name, *args)

    monkeypatch.setattr(house.queue.store, "_run", wait)
    changes = await delete_outputs(house.queue, [OutputId("a", index) for index in range(count)])
    (job,) = await house.queue.list(JobQuery())

    assert count == len(changes.changed) + len(changes.missing)
    assert (8, {}) == (job.request.seed, job.marks)
    assert {*job.files} == {each.name for each in (house.folder / "jobs" / "files").iterdir()}
    assert 8 == await house.queue.store.result_bytes()


async def test_jobs_are_measured(house: House) -> None:
    """How long each waited for its first run, and how many were taken over."""
    metrics = Metrics()
    house.queue = JobQueue(house.runs, JobStore(None, house.folder), clock=lambda: house.now, observer=metrics)
    await house.accept("a")
    await house.ended("a")
    text = metrics.render([], await house.queue.counts(), 5).decode()

    assert 'octabox_job_wait_seconds_count{model="demo"} 1.0' in text
    assert 'octabox_jobs{status="completed"} 1.0' in text
    assert "octabox_job_takeovers_total 0.0" in text
    assert "octabox_job_result_bytes 5.0" in text
