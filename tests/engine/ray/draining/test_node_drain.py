"""The end of a node that calls run on."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import psutil
import pytest
import ray

from clusters import running_cluster
from embedded import Calls, finish
from octabox.config.model import ModelConfig
from octabox.engine.messages import WorkerOptions
from octabox.engine.protocol import Call
from octabox.engine.ray.connection import all_nodes, draining_nodes
from octabox.engine.ray.draining.node_drain import describe, drain_node, node_of, worker_name, workers_on
from octabox.engine.ray.draining.open_calls import RunningCalls
from octabox.engine.ray.engine import RayEngine
from octabox.types import Generation, Progress


def test_workers_are_found_by_their_node() -> None:
    """Names are unique; those of other nodes and of other actors do not count."""
    names = [worker_name("a"), worker_name("a"), worker_name("ab"), "a", "other a"]

    assert 5 == len(set(names))
    assert names[:2] == workers_on("a", names)


def test_a_node_is_known_by_its_socket() -> None:
    """Several nodes of a machine have the same address; a lost one is none of this machine's processes."""
    nodes = [
        {"NodeID": "a", "Alive": False, "RayletSocketName": "/one"},
        {"NodeID": "b", "Alive": True, "RayletSocketName": "/two"},
    ]

    class Raylet:
        """A process."""

        def __init__(self, *arguments: str) -> None:
            self.arguments = arguments

        def cmdline(self) -> list[str]:
            """Return its arguments."""
            return ["raylet", *self.arguments]

    def find(*arguments: str) -> str | None:
        return node_of([Raylet(*arguments)], nodes)

    assert "b" == find("--node_ip_address=10.0.0.5", "--raylet_socket_name=/two")
    assert [None, None] == [find(f"--raylet_socket_name={name}") for name in ("/one", "/two.1")]


def test_what_is_waited_for_is_named() -> None:
    """Each model has the number of its calls."""
    running = [RunningCalls("demo", 2), RunningCalls("other", 1)]

    assert "Waiting for the calls that run on this node: 2 of 'demo', 1 of 'other'." == describe(running)


async def started(engine: RayEngine, call: Call, ready: asyncio.Event) -> Generation:
    """Run a call, and set an event with its first step."""
    async for event in engine.generate(call):
        if isinstance(event, Progress) and event.step:
            ready.set()
        if isinstance(event, Generation):
            return event
    raise AssertionError("no result")


@pytest.mark.slow
@pytest.mark.timeout(900)
async def test_a_node_ends_after_its_calls(embedded: ModelConfig, tmp_path: Path) -> None:
    """What runs there ends there, what comes meanwhile runs on another node, and neither is run twice."""
    with running_cluster(nodes=2) as cluster:
        engine = RayEngine(WorkerOptions(threads=1, device="cpu"), address=cluster.address, load_timeout=240)
        await engine.start()
        calls, running = Calls(embedded), asyncio.Event()
        first = asyncio.create_task(started(engine, calls(num_inference_steps=300), running))
        await asyncio.wait_for(running.wait(), 240)
        (worker,) = await asyncio.to_thread(ray.util.list_named_actors)
        node = worker.split()[1]
        sockets = {each["NodeID"]: each["RayletSocketName"] for each in await asyncio.to_thread(all_nodes)}
        (raylet,) = [
            process
            for process in psutil.Process().children(recursive=True)
            if f"--raylet_socket_name={sockets[node]}" in process.cmdline()
        ]
        reports: list[str] = []
        began = time.monotonic()
        drain = asyncio.create_task(asyncio.to_thread(drain_node, cluster.address, [raylet], 240.0, reports.append))
        while not reports:  # noqa: ASYNC110 (it is called in a thread)
            await asyncio.sleep(0.1)
        assert node in await asyncio.to_thread(draining_nodes)
        second = asyncio.create_task(finish(engine, calls(num_inference_steps=2)))
        results = [await first, await second]

        assert () == tuple(await drain)
        assert [(), ()] == [each.warnings for each in results]
        assert ["Waiting for the calls that run on this node: 1 of 'demo'."] == reports
        assert time.monotonic() - began < 240
        await engine.close()
