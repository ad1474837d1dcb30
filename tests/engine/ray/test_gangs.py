"""Models that are split over processes of one node of a cluster: the image, the end of a process, and that of the node."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from clusters import add_node, running_cluster
from embedded import finish
from gangs import MANY, SPLIT, call_of, image_of, leader_of, model_of, pixels, run_until, save
from octabox.config.model import ModelConfig
from octabox.engine.local.engine import LocalEngine
from octabox.engine.messages import WorkerOptions
from octabox.engine.ray.connection import available_by_node
from octabox.engine.ray.engine import RayEngine
from octabox.errors import CapacityError, LoadError, WorkerDiedError
from octabox.types import Generation, Progress

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

#: CPUs of each node, of which a model that is split over two processes takes all.
CPUS = 2


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a tiny model."""
    return save(SPLIT, tmp_path_factory.mktemp("gang") / "model")


@pytest.fixture(scope="module")
async def cluster() -> AsyncIterator[Any]:
    """Return a cluster of two nodes, whose head is another one without models, since a cluster ends with its head."""
    with running_cluster(nodes=1, cpus=0) as running:
        for _ in range(2):
            add_node(running, CPUS)
        yield running


@pytest.fixture(scope="module")
async def engine(cluster: Any) -> AsyncIterator[RayEngine]:
    """Return an engine of the cluster."""
    engine = RayEngine(WorkerOptions(threads=1, device="cpu"), address=cluster.address, load_timeout=240)
    await engine.start()
    yield engine
    await engine.close()


def processes_of(leader: int) -> set[int]:
    """Return the worker processes of the actor that keeps this one."""
    actor = psutil.Process(leader).parent()
    assert actor is not None
    return {each.pid for each in actor.children() if "spawn_main" in " ".join(each.cmdline())}


def node_of(cluster: Any, leader: int) -> Any:
    """Return the node of a cluster that a worker is on, by the parent of its actor."""
    parents = {each.pid for each in psutil.Process(leader).parents()}
    (node,) = [
        node
        for node in cluster.list_all_nodes()
        if any(each.process.pid in parents for each in node.all_processes["raylet"])
    ]
    return node


async def interrupted(engine: RayEngine, model: ModelConfig, act: Callable[[], object]) -> Generation:
    """Return the result of a call of many steps, at one of which something happens once."""
    acted = False
    async for event in engine.generate(call_of(model, SPLIT, num_inference_steps=MANY)):
        if isinstance(event, Generation):
            assert acted
            return event
        if not acted and isinstance(event, Progress) and event.step >= 5:
            acted = True
            act()
    raise AssertionError("no result")


async def until(holds: Callable[[], bool], what: str) -> None:
    """Wait until something holds."""
    end = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < end, what
        await asyncio.sleep(0.05)


async def until_ended(pids: set[int]) -> None:
    """Wait until none of these processes runs."""
    await until(lambda: not any(map(psutil.pid_exists, pids)), f"{pids} are left")


async def until_free(cpus: float) -> None:
    """Wait until so many CPUs of the cluster are free."""
    await until(lambda: sum(each.get("CPU", 0.0) for each in available_by_node().values()) == cpus, "not free")


async def test_a_gang_of_a_cluster_makes_the_image_of_one_machine(engine: RayEngine, folder: Path) -> None:
    """The same bytes as two processes of this machine, and the image of one process up to what float32 rounds."""
    split, single = model_of(folder), model_of(folder, 1)
    local = LocalEngine(WorkerOptions(threads=1))
    await local.start()
    try:
        expected = (await finish(local, call_of(split, SPLIT))).artifacts[0].content
        alone = await image_of(local, single)
    finally:
        await local.close()
    content = (await finish(engine, call_of(split, SPLIT))).artifacts[0].content
    (status,) = engine.status()

    assert expected == content
    assert np.abs(alone - await image_of(engine, split)).max() <= 1
    assert 2 == len(processes_of(leader_of(engine, split)))
    assert status.device is not None
    assert " on " in status.device
    assert status.performance is not None
    assert "transformer over 2 devices by ulysses_degree=2" in status.performance.applied["parallel"]


async def test_a_cancelled_call_leaves_the_processes(engine: RayEngine, folder: Path) -> None:
    """All end it at the same step, and run the next call."""
    model = model_of(folder)
    expected = await image_of(engine, model)
    leader = leader_of(engine, model)
    before = processes_of(leader)

    assert await run_until(engine, model, lambda: False) is None
    began = time.monotonic()
    assert (expected == await image_of(engine, model)).all()

    assert time.monotonic() - began < 15
    assert (leader, before) == (leader_of(engine, model), processes_of(leader))


async def test_a_member_that_is_killed_ends_all_of_them(engine: RayEngine, folder: Path) -> None:
    """The call runs again in new processes; where one of those is killed as well it fails, and the next call runs."""
    model = model_of(folder)
    expected = await image_of(engine, model)
    gangs: dict[int, set[int]] = {}

    def kill_follower() -> None:
        """Kill the follower of each leader once; a leader may go on for some steps."""
        leader = leader_of(engine, model)
        if leader not in gangs and len(gangs) < 2:
            gangs[leader] = processes_of(leader)
            for pid in gangs[leader] - {leader}:
                os.kill(pid, signal.SIGKILL)

    error = await run_until(engine, model, kill_follower)

    assert isinstance(error, WorkerDiedError)
    assert "has failed or ended" in error.message
    assert [2, 2] == [len(each) for each in gangs.values()]
    await until_ended(set().union(*gangs.values()))
    assert (expected == await image_of(engine, model)).all()


async def test_a_leader_that_is_killed_leaves_no_process(engine: RayEngine, folder: Path) -> None:
    """Its follower ends with the pipe to it, and the call runs again in new processes."""
    model = model_of(folder)
    expected = await image_of(engine, model, num_inference_steps=MANY)
    leader = leader_of(engine, model)
    before = processes_of(leader)
    result = await interrupted(engine, model, lambda: os.kill(leader, signal.SIGKILL))

    assert any("was run again" in warning for warning in result.warnings)
    assert (expected == pixels(result)).all()
    await until_ended(before)
    assert leader != leader_of(engine, model)


async def test_a_gang_runs_again_elsewhere_where_its_node_is_lost(
    cluster: Any, engine: RayEngine, folder: Path
) -> None:
    """With the same image and a warning; no process of the lost node is left, and a new node has room for another gang."""
    model = model_of(folder)
    expected = await image_of(engine, model, num_inference_steps=MANY)
    leader = leader_of(engine, model)
    node, before = node_of(cluster, leader), processes_of(leader)
    result = await interrupted(engine, model, lambda: cluster.remove_node(node, allow_graceful=False))
    add_node(cluster, CPUS)

    assert any("was run again" in warning for warning in result.warnings)
    assert (expected == pixels(result)).all()
    await until_ended(before)


async def test_unloading_a_gang_leaves_no_process_and_frees_its_place(engine: RayEngine, folder: Path) -> None:
    """When it returns, both processes have ended."""
    model = model_of(folder)
    await image_of(engine, model)
    before = processes_of(leader_of(engine, model))

    assert 2 == len(before)
    for status in engine.status():
        assert await engine.unload(status.model)
    assert [] == [pid for pid in before if psutil.pid_exists(pid)]
    await until_free(2 * CPUS)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
async def test_a_gang_that_no_node_can_hold_is_refused(engine: RayEngine, folder: Path, device: str) -> None:
    """It does not wait for what two nodes have together; the error states what it needs of one node."""
    model = model_of(folder, CPUS + 1).model_copy(update={"device": device})
    began = time.monotonic()
    with pytest.raises(CapacityError, match=rf"No node of the cluster has {CPUS + 1} .*even if it were idle"):
        await engine.load(model, SPLIT)

    assert time.monotonic() - began < 10
    await until_free(2 * CPUS)


async def test_a_gang_whose_load_fails_gives_its_place_up(engine: RayEngine, folder: Path) -> None:
    """The error is that of one machine, and no process keeps the place."""
    model = model_of(folder, {"ring_degree": 2})
    with pytest.raises(LoadError, match="by ring_degree=2: Native attention does not support return_lse=True"):
        await engine.load(model, SPLIT)

    assert [] == engine.status()
    await until_free(2 * CPUS)
