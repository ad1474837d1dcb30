"""Models that are split over two processes of the CPU: what they make, and what is left where a process ends."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gangs import SPLIT, children, image_of, leader_of, model_of, run_until, save
from octabox.config.model import ModelConfig
from octabox.engine.local.engine import LocalEngine
from octabox.engine.local.processes.forkserver import fork_server_pid
from octabox.engine.messages import WorkerOptions
from octabox.errors import GenerationError, LoadError, WorkerDiedError

#: Processes of the same fork server that are not of these tests, such as a worker of another file's that ends.
_others: set[int] = set()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a tiny model."""
    return save(SPLIT, tmp_path_factory.mktemp("gang") / "model")


@pytest.fixture(scope="module")
async def engine() -> AsyncIterator[LocalEngine]:
    """Return an engine without other models, so that all workers are those of a test."""
    engine = LocalEngine(WorkerOptions(threads=1))
    await engine.start()
    _others.update(children(fork_server_pid()))
    yield engine
    await engine.close()


def processes_of(engine: LocalEngine, model: ModelConfig) -> set[int]:
    """Return the processes of a model, whatever other models an earlier test has left: the engine knows one of each."""
    known = {status.pid for status in engine.status() if status.model != model.name}
    return children(fork_server_pid()) - _others - known


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"height": 48, "width": 80},
        {"prompt": "a (red:1.5) star"},
        {"runs_as": "FluxImg2ImgPipeline", "inputs": {"image": (Image.new("RGB", (32, 32), "red"),)}},
    ],
    ids=["plain", "another size", "weights", "sibling"],
)
async def test_two_processes_make_the_image_of_one(engine: LocalEngine, folder: Path, params: dict[str, Any]) -> None:
    """Up to what float32 rounds; the status states how it is split."""
    alone = await image_of(engine, model_of(folder, 1), **params)
    together = await image_of(engine, model_of(folder), **params)

    assert np.abs(alone - together).max() <= 1
    status = next(each for each in engine.status() if each.model == model_of(folder).name)
    assert status.performance is not None
    assert "transformer over 2 devices by ulysses_degree=2" in status.performance.applied["parallel"]
    assert "batching" not in status.performance.applied


async def test_the_memory_is_that_of_both_processes(engine: LocalEngine, folder: Path) -> None:
    """A model in two processes holds about twice what it holds in one."""
    for parallel in (1, 2):
        await image_of(engine, model_of(folder, parallel))
    held = {each.model: each.memory["host"] for each in engine.status()}

    assert held[model_of(folder).name] > 1.5 * held[model_of(folder, 1).name]


async def test_a_cancelled_call_ends_in_both_processes(engine: LocalEngine, folder: Path) -> None:
    """They stop at the same step, and the next call runs in the same processes."""
    model = model_of(folder)
    expected = await image_of(engine, model)
    before = leader_of(engine, model), processes_of(engine, model)

    assert await run_until(engine, model, lambda: False) is None
    again = await image_of(engine, model)

    assert before == (leader_of(engine, model), processes_of(engine, model))
    assert (expected == again).all()


async def test_a_call_that_all_processes_refuse_leaves_them(engine: LocalEngine, folder: Path) -> None:
    """The same error in each of them is that of the call."""
    model = model_of(folder)
    await image_of(engine, model)
    before = leader_of(engine, model), processes_of(engine, model)

    with pytest.raises(GenerationError):
        await image_of(engine, model, height=-5)
    await image_of(engine, model)

    assert before == (leader_of(engine, model), processes_of(engine, model))


async def test_a_call_whose_follower_is_killed_runs_again(engine: LocalEngine, folder: Path) -> None:
    """As where the worker itself is killed: in new processes; where they are killed as well, the call fails."""
    model = model_of(folder)
    await image_of(engine, model)
    killed: dict[int, set[int]] = {}

    def kill_followers() -> None:
        """Kill the follower of each leader once; a leader may go on for some steps."""
        leader = leader_of(engine, model)
        if leader not in killed and len(killed) < 2:
            killed[leader] = processes_of(engine, model) - {leader}
            for pid in killed[leader]:
                os.kill(pid, signal.SIGKILL)

    error = await run_until(engine, model, kill_followers)

    assert isinstance(error, WorkerDiedError)
    assert "has failed or ended" in error.message
    assert [1, 1] == [len(each) for each in killed.values()]
    await image_of(engine, model)
    assert not set().union(*killed.values()) & processes_of(engine, model)


async def test_a_follower_that_is_killed_between_calls_is_replaced(engine: LocalEngine, folder: Path) -> None:
    """The worker ends, and the next call gets new processes."""
    model = model_of(folder)
    await image_of(engine, model)
    before = leader_of(engine, model)
    for pid in processes_of(engine, model) - {before}:
        os.kill(pid, signal.SIGKILL)

    await image_of(engine, model)

    assert before != leader_of(engine, model)
    assert 2 == len(processes_of(engine, model))


async def test_no_process_is_left_where_the_worker_is_killed(engine: LocalEngine, folder: Path) -> None:
    """Its followers end with the pipe to it, also in the middle of a call."""
    model = model_of(folder)
    await image_of(engine, model)
    before = processes_of(engine, model)
    killed: list[int] = []

    def kill() -> bool:
        killed.append(leader_of(engine, model))
        os.kill(killed[0], signal.SIGKILL)
        return False

    await run_until(engine, model, kill)
    await engine.unload(model.name)

    assert killed[0] in before
    for _ in range(400):
        if not before & processes_of(engine, model):
            return
        await asyncio.sleep(0.05)
    raise AssertionError("a process is left")


async def test_unloading_ends_all_processes(engine: LocalEngine, folder: Path) -> None:
    """When it returns, they have ended, so that their memory is free."""
    model = model_of(folder)
    await image_of(engine, model)

    assert 2 == len(processes_of(engine, model))
    assert await engine.unload(model.name)
    assert set() == processes_of(engine, model)


@pytest.mark.parametrize(
    ("parallel", "message"),
    [
        ({"ring_degree": 2}, "by ring_degree=2: Native attention does not support return_lse=True"),
        ({"tp_degree": 2}, "by tp_degree=2: Tensor parallelism is not supported on device type 'cpu'"),
        ({"no_degree": 2}, "no kind of parallelism of diffusers has the settings no_degree"),
        ({"ulysses_degree": 2, "rotate_method": "alltoall"}, "Only rotate_method='allgather' is supported"),
    ],
)
async def test_what_diffusers_cannot_do_is_refused_at_load(
    engine: LocalEngine, folder: Path, parallel: dict[str, Any], message: str
) -> None:
    """With its own words; no process is left."""
    with pytest.raises(LoadError) as raised:
        await engine.load(model_of(folder, parallel), SPLIT)

    assert message in raised.value.message
    assert "parallel" == raised.value.parameter


async def test_a_class_without_a_plan_is_refused(engine: LocalEngine, tmp_path: Path) -> None:
    """It is not loaded in several processes that would all do the same."""
    model = model_of(save("PixArtSigmaPipeline", tmp_path / "model"))

    with pytest.raises(LoadError, match=r"diffusers has no such plan for .*PixArtTransformer2DModel"):
        await engine.load(model, "PixArtSigmaPipeline")


async def test_more_devices_than_there_are_are_refused(engine: LocalEngine, folder: Path) -> None:
    """The error states how many there are; only a model that names the CPU is split over its processes."""
    model = model_of(folder).model_copy(update={"device": None, "name": "elsewhere"})

    with pytest.raises(LoadError, match="is split over 2 devices by `parallel`, and 0 can be used here"):
        await engine.load(model, SPLIT)
