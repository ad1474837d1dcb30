"""Webhooks: their signatures as OpenAI's client verifies them, and what is sent again."""

from __future__ import annotations

import asyncio
import base64
import errno
import json
import secrets
from collections import Counter
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from sqlalchemy import select

from octabox.errors import ForbiddenUrlError, GenerationError, InvalidParameterError, ModelNotFoundError
from octabox.security.urls import UrlGuard
from octabox.service.jobs import JobQueue, QueueLimits, Submission
from octabox.service.jobs.queue.webhooks import DELAYS, TIMEOUT, Webhooks
from octabox.service.jobs.record import Delivery, StoredJob
from octabox.service.jobs.store.schema.tables import deliveries
from octabox.service.jobs.store.store import JobStore
from octabox.types import GenerationRequest
from queue_houses import Runs, end_abruptly, until

KEY = secrets.token_bytes(32)
URL = "https://host.example/hook"


class Endless(httpx.AsyncByteStream):
    """The body of a response that has no end."""

    def __init__(self) -> None:
        self.read, self.closed = 0, False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield bytes for as long as they are read; a test fails after some."""
        while self.read < 1000:
            self.read += 1
            yield bytes(1 << 16)

    async def aclose(self) -> None:
        """Note that the connection is closed."""
        self.closed = True


class Receiver:
    """Receives webhooks, and answers with the next of its statuses."""

    def __init__(self, store: JobStore, *statuses: int) -> None:
        self.received: list[httpx.Request] = []
        self.now = 1_700_000_000.0
        self._statuses = [*statuses]
        self.guard = UrlGuard(self._resolve, lambda: httpx.MockTransport(self._answer))
        self.store, self.webhooks = store, Webhooks(store, KEY, self.guard, lambda: self.now)
        self.address, self.response = "8.8.8.8", dict[str, Any]()

    async def _resolve(self, host: str, port: int) -> list[str]:
        return [self.address]

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.received.append(request)
        return httpx.Response(self._statuses.pop(0) if self._statuses else 200, **self.response)

    async def end(self, job: StoredJob, *, batch_ended: bool = False) -> None:
        """Send the notices of the end of a job."""
        notices = self.webhooks.notices(job)
        assert notices
        assert notices.job
        await self.store.add_delivery(notices.job)
        if batch_ended:
            await self.store.add_delivery(notices.batch(URL, {"failed": 1}))

    @property
    def kinds(self) -> list[str]:
        """The kinds of the events that it has received."""
        return [json.loads(request.content)["type"] for request in self.received]

    def queue(self, runs: Runs, folder: Path, *models: str) -> JobQueue:
        """Return the queue of a server that has some models, or all, and sends its webhooks here."""

        def name_of(model: str) -> str:
            if models and model not in models:
                raise ModelNotFoundError("There is none.")
            return model

        limits = QueueLimits()
        return JobQueue(runs, JobStore(None, folder), limits, KEY, self.guard, lambda: self.now, name_of=name_of)

    async def serve(self, count: int) -> None:
        """Send what is due, until it has received so many."""
        task = asyncio.create_task(self.webhooks.serve())
        for _ in range(400):
            if len(self.received) >= count:
                break
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[JobStore]:
    """Return an open store."""
    store = JobStore(None, tmp_path)
    await store.open()
    yield store
    await store.close()


async def pending(store: JobStore) -> list[Delivery]:
    """Return the webhooks that are not delivered, those that are due first at the front."""
    assert store._writer
    found = select(deliveries).order_by(deliveries.c.due, deliveries.c.id)
    return await store._writer.run(lambda connection: [Delivery(**row) for row in connection.execute(found).mappings()])


def job(**fields: object) -> StoredJob:
    """Return a job with a webhook, which has failed."""
    ended = StoredJob(GenerationRequest("demo", id="a"), 1.0, webhook=URL, **fields)  # type: ignore[arg-type]
    ended.end(GenerationError("Bad."), 2.0, 3.0)
    return ended


async def test_the_signature_is_valid(store: JobStore) -> None:
    """OpenAI's client verifies it; the address is that of the guard, the name stays in the request."""
    receiver = Receiver(store, 200, 204)
    await receiver.end(job(batch="batch_1"), batch_ended=True)
    await receiver.serve(2)
    secret = "whsec_" + base64.b64encode(KEY).decode()
    client = openai.OpenAI(api_key="x")
    for request in receiver.received:
        client.webhooks.verify_signature(request.content, request.headers, secret=secret, tolerance=10**9)
    bodies = [json.loads(request.content) for request in receiver.received]

    assert ["generation.failed", "batch.failed"] == [body["type"] for body in bodies]
    assert ("a", "failed", "Bad.", "batch_1") == tuple(
        bodies[0]["data"][name] for name in ("id", "status", "error", "batch")
    )
    assert ("8.8.8.8", "host.example") == (receiver.received[0].url.host, receiver.received[0].headers["host"])
    assert [] == await pending(store)


async def test_what_fails_is_sent_again(store: JobStore) -> None:
    """Later and later, with the same id; a receiver that is gone is left alone."""
    receiver = Receiver(store, 500, 302, 410)
    await receiver.end(job())
    for attempt in range(3):
        await receiver.serve(attempt + 1)
        due = await pending(store)
        assert ([(attempt + 1, receiver.now + DELAYS[attempt])] if attempt < 2 else []) == [
            (each.attempts, each.due) for each in due
        ]
        receiver.now += DELAYS[attempt]

    assert 1 == len({request.headers["webhook-id"] for request in receiver.received})


@pytest.mark.parametrize("error", [OSError(errno.EMFILE, "Too many open files"), RuntimeError("Unexpected.")])
async def test_webhooks_are_sent_after_an_unexpected_failure(
    store: JobStore, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """Of one of them, which is sent again later, or of a look at the store."""
    receiver, failing = Receiver(store), ["transport", "store"]
    transport, due_deliveries = receiver.guard.transport, store.due_deliveries

    def fail_to_connect() -> httpx.AsyncBaseTransport:
        if "transport" in failing:
            failing.remove("transport")
            raise error
        return transport()

    async def fail_to_look(*details: Any) -> tuple[list[Delivery], float | None]:
        if failing == ["store"]:
            failing.clear()
            receiver.webhooks.wake()
            raise error
        return await due_deliveries(*details)

    monkeypatch.setattr(receiver.guard, "transport", fail_to_connect)
    monkeypatch.setattr(store, "due_deliveries", fail_to_look)
    await receiver.end(job())
    serving = asyncio.create_task(receiver.webhooks.serve())
    await until(lambda: not failing)
    (notice,) = await pending(store)
    receiver.now += DELAYS[0]
    receiver.webhooks.wake()
    await until(lambda: receiver.received)
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)

    assert (1, 1_700_000_000.0 + DELAYS[0]) == (notice.attempts, notice.due)


class Silent(Receiver):
    """Answers to one host, and to others never, until a test lets them answer."""

    def __init__(self, store: JobStore) -> None:
        super().__init__(store)
        self.guard = UrlGuard(self._resolve, lambda: httpx.MockTransport(self._wait))
        self.webhooks = self.server()
        self.answers, self.waiting = asyncio.Event(), list[str]()

    def server(self) -> Webhooks:
        """Return what sends the webhooks of a server."""
        return Webhooks(self.store, KEY, self.guard, lambda: self.now)

    async def _wait(self, request: httpx.Request) -> httpx.Response:
        host = request.headers["host"]
        if not host.startswith("good"):
            self.waiting.append(host)
            try:
                await self.answers.wait()
            finally:
                self.waiting.remove(host)
        return self._answer(request)

    async def add(self, *urls: str) -> None:
        """Add webhooks for URLs, each of which is due a little later than the one before."""
        for index, url in enumerate(urls):
            await self.store.add_delivery(Delivery(f"{index:03}", url, "{}", due=self.now - 100 + index))


async def test_a_receiver_that_does_not_answer_delays_no_other(store: JobStore) -> None:
    """However many of its webhooks are due earlier: few are sent to it together, and all of them in the end, once each."""
    silent, good = [f"https://silent.example/{index}" for index in range(60)], ["https://good.example/a"] * 6
    receiver = Silent(store)
    await receiver.add(*silent[:40], "https://silent.example.org", *silent[40:], *good)
    servers = [receiver.webhooks, receiver.server()]
    serving = [asyncio.create_task(each.serve()) for each in servers]
    await until(lambda: len(receiver.received) == len(good))
    together = Counter(receiver.waiting)
    receiver.answers.set()
    await until(lambda: len(receiver.received) == 61 + len(good))
    await until(lambda: not any(each._sending for each in servers))
    left = await pending(store)
    for each in serving:
        each.cancel()
    await asyncio.gather(*serving, return_exceptions=True)

    assert {"silent.example": 2 * len(servers), "silent.example.org": 1} == together
    assert 1 == max(Counter(each.headers["webhook-id"] for each in receiver.received).values())
    assert [] == left


async def test_webhooks_that_are_being_sent_at_the_end_are_sent_by_the_next_server(store: JobStore) -> None:
    """Once their time has passed, in which another one does not send them; it was no failed attempt."""
    receiver = Silent(store)
    await receiver.add("https://silent.example/a", "https://silent.example/b")
    serving = asyncio.create_task(receiver.webhooks.serve())
    await until(lambda: len(receiver.waiting) == 2)
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)
    stopped, left = [*receiver.waiting], await pending(store)
    receiver.answers.set()
    receiver.webhooks = receiver.server()
    await receiver.serve(0)
    early = len(receiver.received)
    receiver.now += 2 * TIMEOUT
    await receiver.serve(2)

    assert ([], [(0, 1_700_000_000.0 + 2 * TIMEOUT)] * 2) == (stopped, [(each.attempts, each.due) for each in left])
    assert (0, 2, []) == (early, len(receiver.received), await pending(store))


@pytest.mark.parametrize("status", [200, 410, 500])
async def test_the_body_of_a_response_is_not_read(store: JobStore, status: int) -> None:
    """It may have no end, or be much larger than what is sent; the connection is closed at once."""
    receiver, body = Receiver(store, status), Endless()
    receiver.response = {"stream": body, "headers": {"content-encoding": "gzip"}}
    await receiver.end(job())
    await receiver.serve(1)

    assert (0, True) == (body.read, body.closed)
    assert (status == 500) == bool(await pending(store))


async def test_private_addresses_receive_nothing(store: JobStore) -> None:
    """The guard of inputs checks these addresses too, when they are used."""
    receiver = Receiver(store, 200)
    receiver.address = "127.0.0.1"
    await receiver.end(job())
    await asyncio.wait_for(_once(receiver), 10)

    assert [] == receiver.received
    assert [1] == [each.attempts for each in await pending(store)]


async def test_a_batch_that_several_servers_take_over_ends_once(tmp_path: Path) -> None:
    """However its jobs are spread: the end of the last one is that of the batch."""
    receiver, runs = Receiver(JobStore(None, tmp_path), *()), [Runs() for _ in range(3)]
    runs[0].automatic = runs[2].automatic = False
    first = receiver.queue(runs[0], tmp_path)
    second, third = (receiver.queue(each, tmp_path, name) for each, name in zip(runs[1:], "xy", strict=True))
    for queue in (first, second, third):
        await queue.open()
    requests = [GenerationRequest(name, id=f"{name}{index}") for name in "xy" for index in range(2)]
    await first.accept([Submission(each, webhook=URL) for each in requests], batch=True)
    await end_abruptly(first)
    for queue in (second, third):
        await queue.lease.renew()
    await until(lambda: len(receiver.received) == 2)
    before = receiver.kinds
    for name in ("y0", "y1"):
        runs[2].end_of(name).set()
    await until(lambda: "batch.completed" in receiver.kinds)
    await asyncio.sleep(0.1)
    for queue in (second, third):
        await queue.close()

    assert ["generation.completed"] * 2 == before
    assert ["batch.completed"] + ["generation.completed"] * 4 == sorted(receiver.kinds)


async def test_the_end_of_a_batch_by_the_loss_of_its_job(tmp_path: Path) -> None:
    """A job that fails since its run has ended the server twice is notified of at once, and so is its batch."""
    receiver, runs = Receiver(JobStore(None, tmp_path), *()), Runs()
    runs.automatic = False
    queue = receiver.queue(runs, tmp_path)
    await queue.accept([Submission(GenerationRequest("x", id="a"), webhook=URL)], batch=True)
    for _ in range(2):
        await queue.store.change(await queue.find("a"), status="in_progress", started=1.0)
        await end_abruptly(queue)
        queue = receiver.queue(runs, tmp_path)
        await queue.open()
    await until(lambda: len(receiver.received) == 2)
    await queue.close()

    assert ["batch.failed", "generation.failed"] == sorted(receiver.kinds)


async def test_each_webhook_of_a_batch_receives_its_end(tmp_path: Path) -> None:
    """Once, whichever job is the last one, also one without a webhook that is lost with its server."""
    receiver, runs = Receiver(JobStore(None, tmp_path), *()), Runs()
    runs.automatic = False
    queue = receiver.queue(runs, tmp_path)
    webhooks = {"a": URL, "b": "https://other.example/jobs", "c": URL, "d": None}
    requests = [Submission(GenerationRequest("x", id=name), webhook=url) for name, url in webhooks.items()]
    await queue.accept(requests, batch=True)
    for name in "abc":
        runs.end_of(name).set()
    await until(lambda: len(receiver.received) == 3)
    for _ in range(2):
        await queue.store.change(await queue.find("d"), status="in_progress", started=1.0)
        await end_abruptly(queue)
        queue = receiver.queue(runs, tmp_path)
        await queue.open()
    await until(lambda: len(receiver.received) == 5)
    await queue.close()
    hosts = [request.headers["host"] for request in receiver.received]

    assert ["generation.completed"] * 3 + ["batch.completed"] * 2 == receiver.kinds
    assert ["host.example", "other.example"] == sorted(hosts[3:])


@pytest.mark.parametrize(
    ("ends", "event"),
    [
        (("completed", "failed", "cancelled"), "batch.completed"),
        (("failed", "cancelled"), "batch.failed"),
        (("cancelled", "cancelled"), "batch.cancelled"),
    ],
)
async def test_the_end_of_a_batch_states_the_ends_of_its_jobs(
    tmp_path: Path, ends: tuple[str, ...], event: str
) -> None:
    """A batch of which nothing has come is not completed; its webhook counts the requests by status."""
    receiver, runs = Receiver(JobStore(None, tmp_path), *()), Runs()
    runs.automatic = False

    def has_received(count: int) -> bool:
        return len(receiver.received) >= count

    queue = receiver.queue(runs, tmp_path)
    requests = [Submission(GenerationRequest("x", id=str(index)), webhook=URL) for index in range(len(ends))]
    await queue.accept(requests, batch=True)
    for index, end in enumerate(ends):
        await runs.started(str(index))
        runs.error = GenerationError("Bad.") if end == "failed" else None
        if end == "cancelled":
            await queue.cancel(str(index))
        else:
            runs.end_of(str(index)).set()
        await until(partial(has_received, index + 1))
    await until(lambda: len(receiver.received) == len(ends) + 1)
    found = await queue.counts((await queue.find("0")).batch)
    await queue.close()
    body = next(each for each in (json.loads(r.content) for r in receiver.received) if each["type"].startswith("batch"))
    counts = {end: ends.count(end) for end in ("queued", "in_progress", "completed", "failed", "cancelled")}

    assert (event, event.removeprefix("batch.")) == (body["type"], body["data"]["status"])
    assert {"total": len(ends), **counts} == body["data"]["request_counts"]
    assert counts == found


async def test_the_last_job_of_a_batch_needs_no_webhook(tmp_path: Path) -> None:
    """Its regular end is that of the batch too."""
    receiver, runs = Receiver(JobStore(None, tmp_path), *()), Runs()
    queue = receiver.queue(runs, tmp_path)
    requests = [Submission(GenerationRequest("x", id="a"), webhook=URL), Submission(GenerationRequest("x", id="b"))]
    await queue.accept(requests, batch=True)
    await until(lambda: len(receiver.received) == 2)
    await queue.close()

    assert ["generation.completed", "batch.completed"] == receiver.kinds


async def _once(receiver: Receiver) -> None:
    """Let the webhooks be tried once."""
    task = asyncio.create_task(receiver.webhooks.serve())
    while not (await pending(receiver.store))[0].attempts:  # noqa: ASYNC110 (the state of the store)
        await asyncio.sleep(0.01)
    task.cancel()


def test_what_is_refused() -> None:
    """A webhook needs a key, and a URL that may be fetched."""
    with pytest.raises(InvalidParameterError, match="webhook_secret"):
        Webhooks(JobStore(None, Path()), b"").check(URL)
    with pytest.raises(ForbiddenUrlError):
        Webhooks(JobStore(None, Path()), KEY).check("file:///etc/passwd")
