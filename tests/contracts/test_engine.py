"""What every engine keeps to: one of memory, one of processes on this machine, one of a cluster of two nodes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import pytest

from clusters import running_cluster
from embedded import Calls, finish
from fake_worker import FakeWorkers
from fake_worker import engine_of as fake_engine
from octabox.config.model import ModelConfig
from octabox.engine.local.engine import LocalEngine
from octabox.engine.messages import WorkerOptions
from octabox.engine.protocol import Engine
from octabox.engine.ray.engine import RayEngine
from octabox.errors import LoadError, ServerStoppingError
from octabox.types import Generation, Progress

#: Settings of the workers of all engines.
OPTIONS = WorkerOptions(threads=1, device="cpu")


@pytest.fixture(
    scope="module",
    params=[
        "fake",
        "local",
        pytest.param("ray", marks=[pytest.mark.slow, pytest.mark.timeout(900)]),
    ],
)
async def tested(request: pytest.FixtureRequest, embedded: ModelConfig) -> AsyncIterator[Engine]:
    """Return each engine in turn."""
    if request.param == "ray":
        with running_cluster(nodes=2) as cluster:
            engine: Any = RayEngine(OPTIONS, address=cluster.address, queue_size=4, load_timeout=240)
            await engine.start([embedded])
            yield engine
            await engine.close()
        return
    engine = fake_engine(FakeWorkers()) if request.param == "fake" else LocalEngine(OPTIONS, queue_size=4)
    await engine.start([embedded])
    yield engine
    await engine.close()


@pytest.fixture
def real(request: pytest.FixtureRequest) -> None:
    """Skip the engine of memory, which makes no images."""
    if "fake" in request.node.name:
        pytest.skip("it makes no images")


async def test_a_call_ends_with_its_result(tested: Engine, calls: Calls) -> None:
    """The last event of a call is its result, and the model is in memory."""
    events = [event async for event in tested.generate(calls(seeds=(5,)))]

    assert isinstance(events[-1], Generation)
    assert all(isinstance(event, Progress) for event in events[:-1])
    assert ["ready"] == [status.state for status in tested.status()]


async def test_a_loaded_model_is_not_loaded_again(tested: Engine, embedded: ModelConfig) -> None:
    """Its worker is the one that there was."""
    (before,) = tested.status()
    status = await tested.load(embedded, "StableDiffusionPipeline")

    assert (before.pid, before.since) == (status.pid, status.since)


@pytest.mark.usefixtures("real")
async def test_the_same_request_gives_the_same_bytes(tested: Engine, engine: LocalEngine, calls: Calls) -> None:
    """Those of the local engine, whatever engine runs it."""
    content = [(await finish(each, calls(seeds=(5,)))).artifacts[0].content for each in (tested, tested, engine)]

    assert 1 == len(set(content))


@pytest.mark.usefixtures("real")
async def test_progress_and_previews_arrive(tested: Engine, calls: Calls) -> None:
    """Each step is an event, and as many previews as requested are among them."""
    events = [event async for event in tested.generate(calls(partial_images=2, num_inference_steps=6))]
    progress = [event for event in events if isinstance(event, Progress)]

    assert [1, 2, 3, 4, 5, 6] == sorted({event.step for event in progress if event.step})
    assert 2 == sum(event.preview is not None for event in progress)


@pytest.mark.usefixtures("real")
async def test_a_call_can_be_cancelled(tested: Engine, calls: Calls) -> None:
    """Its iterator is closed at a step of many; the worker stops within a few of them, and serves the next call."""
    (before,) = tested.status()
    async with aclosing(tested.generate(calls(num_inference_steps=900))) as events:
        async for event in events:
            if isinstance(event, Progress) and event.step >= 2:
                break
    began = time.monotonic()
    await finish(tested, calls())
    (after,) = tested.status()

    assert time.monotonic() - began < 15
    assert before.pid == after.pid


@pytest.mark.usefixtures("real")
async def test_a_model_that_is_not_there_is_a_load_error(tested: Engine, embedded: ModelConfig) -> None:
    """The error names the model, and other models are not affected."""
    missing = embedded.model_copy(update={"name": "missing", "model": "/nowhere/missing"})
    with pytest.raises(LoadError, match="missing"):
        await tested.load(missing, "StableDiffusionPipeline")

    assert ["demo"] == [status.model for status in tested.status()]


async def test_a_changed_configuration_counts_for_the_next_call(tested: Engine, calls: Calls) -> None:
    """A call of the same name with another configuration loads the model again, and the call that runs ends before."""
    changed = Calls(calls.model.model_copy(update={"dtype": "bfloat16"}))
    before = await tested.load(calls.model, "StableDiffusionPipeline")
    results = await asyncio.gather(finish(tested, calls()), finish(tested, changed()))
    (after,) = tested.status()

    assert 2 == len(results)
    assert before.pid != after.pid
    assert await finish(tested, calls())


async def test_a_model_stays_as_long_as_it_is_to(tested: Engine, calls: Calls) -> None:
    """Its time in memory is changed, and the model leaves memory after it; the next call loads it."""
    tested.retain("demo", 0.2, None)
    end = time.monotonic() + 60
    while tested.status() and time.monotonic() < end:  # noqa: ASYNC110 (an engine has no event for it)
        await asyncio.sleep(0.05)

    assert [] == tested.status()
    assert await finish(tested, calls())
    assert 1 == len(tested.status())


async def test_a_model_that_is_not_kept_leaves_after_its_call(tested: Engine, calls: Calls) -> None:
    """One with `keep_alive: 0` does, also where it has been loaded before."""
    await finish(tested, replace(calls(), keep_alive=0.0))
    end = time.monotonic() + 60
    while tested.status() and time.monotonic() < end:  # noqa: ASYNC110 (an engine has no event for it)
        await asyncio.sleep(0.05)

    assert [] == tested.status()
    assert await finish(tested, calls())


async def test_a_model_is_unloaded_once(tested: Engine, calls: Calls) -> None:
    """The second time there is nothing to unload; a pinned one is unloaded by request, too."""
    tested.retain("demo", None, True)

    assert ["demo"] == [status.model for status in tested.status() if status.pinned]
    assert await tested.unload("demo")
    assert not await tested.unload("demo")
    assert [] == tested.status()
    assert not await tested.unload("unknown")
    assert calls.model.name == "demo"


async def test_a_closed_engine_refuses_calls(tested: Engine, calls: Calls) -> None:
    """There is no room for a call, and one that comes nevertheless fails."""
    await tested.close()

    with pytest.raises(ServerStoppingError):
        tested.check_room("demo", "")
    with pytest.raises(ServerStoppingError):
        await finish(tested, calls())
