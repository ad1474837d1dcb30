"""The engine of a cluster of two nodes, one of which fails."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from clusters import add_node, running_cluster
from embedded import Calls, finish
from octabox.config.model import ModelConfig
from octabox.engine.local.replicas import replica_set
from octabox.engine.memory.estimate import weight_bytes
from octabox.engine.messages import WorkerOptions
from octabox.engine.ray.connection import available_by_node
from octabox.engine.ray.engine import RayEngine
from octabox.engine.ray.resources import ACCELERATOR_BYTES, accelerator_share, needed_bytes
from octabox.engine.ray.stored_messages import MIN_BYTES, MessageStore
from octabox.errors import CapacityError, LoadError
from octabox.types import Generation, OutputFormat

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

#: Steps of a call during which a node can be killed.
STEPS = 40

#: Dtypes of models that share nothing but their files.
DTYPES = ("float32", "bfloat16")


@pytest.fixture(scope="module")
async def cluster() -> AsyncIterator[Any]:
    """Return a cluster of two nodes."""
    with running_cluster(nodes=2) as running:
        yield running


@pytest.fixture(scope="module")
async def engine(cluster: Any, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RayEngine]:
    """Return an engine that loads a replica on each node as soon as a call waits."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            replica_set, "value_of_another", lambda load, limits: 0.0 if load.replicas < limits.max_replicas else None
        )
        patch.setattr(replica_set, "PAUSE", 1.0)
        options = WorkerOptions(threads=1, device="cpu")
        store = str(tmp_path_factory.mktemp("store"))
        engine = RayEngine(options, address=cluster.address, max_replicas=2, load_timeout=240, file_store=store)
        await engine.start()
        yield engine
        await engine.close()


async def callers(engine: RayEngine, calls: Calls, count: int) -> list[asyncio.Task[Generation]]:
    """Start so many callers of the same image."""
    return [
        asyncio.create_task(finish(engine, calls(seeds=(5,), num_inference_steps=STEPS, deterministic=True)))
        for _ in range(count)
    ]


async def wait_for_replicas(engine: RayEngine, count: int) -> None:
    """Wait until so many replicas are in memory, each on a node of its own."""
    end = time.monotonic() + 200
    while time.monotonic() < end:
        status = next(iter(engine.status()), None)
        loaded = [each for each in status.replicas if each.state != "loading"] if status else []
        if len(loaded) == count:
            assert all(each.device and each.device.startswith("cpu on ") for each in loaded)
            return
        await asyncio.sleep(0.1)
    raise AssertionError(f"{engine.status()}")


async def test_large_inputs_and_results_pass_through_the_store(
    engine: RayEngine, calls: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are the same images as without it, and no file is left of them."""
    store, passed = engine._messages, []
    assert store is not None

    def count(name: str, size: Callable[[Any, Any], int]) -> None:
        original = getattr(MessageStore, name)

        def counted(self: MessageStore, message: Any) -> Any:
            found = original(self, message)
            passed.append((name, size(message, found)))
            return found

        monkeypatch.setattr(MessageStore, name, counted)

    await finish(engine, calls(seeds=(5,)))
    count("put", lambda message, _: len(message))
    count("take", lambda _, found: len(found))
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (768, 768, 3), np.uint8))
    options: dict[str, Any] = {
        "inputs": {"image": (noise,)},
        "runs_as": "StableDiffusionImg2ImgPipeline",
        "strength": 0.25,
    }
    results = [await finish(engine, calls(seeds=(5,), output=OutputFormat(format="png"), **options)) for _ in range(2)]

    assert 1 == len({result.artifacts[0].content for result in results})
    assert [("put", True), ("take", True)] * 2 == [(name, size > MIN_BYTES) for name, size in passed]
    assert [] == list(store._files.files())


async def test_a_node_is_killed_under_callers(cluster: Any, engine: RayEngine, calls: Calls) -> None:
    """All calls end with the same image: those that wait and those of the lost node; the next one answers, too."""
    before = await finish(engine, calls(seeds=(5,), num_inference_steps=STEPS, deterministic=True))
    running = await callers(engine, calls, 8)
    await wait_for_replicas(engine, 2)
    running += await callers(engine, calls, 8)
    await asyncio.sleep(0.5)
    cluster.remove_node(cluster.list_all_nodes()[-1], allow_graceful=False)
    began = time.monotonic()
    results = [
        *await asyncio.gather(*running),
        await finish(engine, calls(seeds=(5,), num_inference_steps=STEPS, deterministic=True)),
    ]

    assert {before.artifacts[0].content} == {result.artifacts[0].content for result in results}
    assert time.monotonic() - began < 120


async def test_a_new_node_takes_a_replica(cluster: Any, engine: RayEngine, calls: Calls) -> None:
    """A node that joins later has room for a replica, which the calls that wait use."""
    add_node(cluster)  # In this thread, since it sets a signal handler.
    running = await callers(engine, calls, 12)
    (status,) = engine.status()
    assert status.pid is not None
    await asyncio.sleep(1)
    os.kill(status.pid, signal.SIGKILL)

    results = await asyncio.gather(*running)
    assert 1 == len({result.artifacts[0].content for result in results})


async def test_what_no_node_has_is_refused(engine: RayEngine, embedded: ModelConfig) -> None:
    """An accelerator, or files of the server that are not on a node; the errors state what and where."""
    on_accelerator = embedded.model_copy(update={"name": "big", "device": "cuda"})
    with pytest.raises(CapacityError, match="No node of the cluster has 1 GPU for model 'big' even if it were idle"):
        await engine.load(on_accelerator, "StableDiffusionPipeline")
    missing = embedded.model_copy(update={"name": "missing", "model": "/nowhere/missing"})
    with pytest.raises(LoadError, match="missing"):
        await engine.load(missing, "StableDiffusionPipeline")


async def test_small_models_share_an_accelerator(cluster: Any, embedded: ModelConfig) -> None:
    """By their bytes: two are on one accelerator at the same time, and what is left of it is free."""
    total = 8 * 2**30
    node = add_node(cluster, gpus=1, **{ACCELERATOR_BYTES: total})
    needed = needed_bytes(sum((weight_bytes(embedded, "cuda") or {}).values()))
    share = accelerator_share(needed, total)
    # The other engine's rule for more replicas may be in place.
    engine = RayEngine(WorkerOptions(threads=1), address=cluster.address, max_replicas=1, load_timeout=240)
    await engine.start()
    try:
        configs = [
            embedded.model_copy(update={"name": f"small {seed}", "dtype": dtype}) for seed, dtype in enumerate(DTYPES)
        ]
        loaded = [await engine.load(each, "StableDiffusionPipeline") for each in configs]
        visible = [
            Path(f"/proc/{each.pid}/environ").read_bytes().split(b"CUDA_VISIBLE_DEVICES=")[1][:1] for each in loaded
        ]
        free = max(each.get("GPU", 0.0) for each in available_by_node().values())
    finally:
        await engine.close()
        cluster.remove_node(node)

    assert 0.3 < share < 0.5
    assert [b"0", b"0"] == visible
    assert free == pytest.approx(1 - 2 * share, abs=0.01)  # The dtypes differ in their bytes.
