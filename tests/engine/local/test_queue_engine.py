"""Configurations that load the same weights share one process."""

from __future__ import annotations

from typing import Any

from fake_worker import PIPELINE, Client, FakeWorkers, call, engine_of, settle
from octabox.engine.protocol import Call


def named(name: str, **fields: Any) -> Call:
    """Return a call of a model whose weights are those of all others."""
    found = call(name, **fields)
    object.__setattr__(found, "model", found.model.model_copy(update={"model": "/nowhere/shared"}))
    return found


async def test_names_that_differ_in_defaults_share_a_worker() -> None:
    """The status names all; each result has the name of its request."""
    workers = FakeWorkers()
    engine = engine_of(workers)
    results = [
        await Client(engine, named(name, defaults={"steps": steps})).result() for name, steps in (("a", 1), ("b", 2))
    ]
    await settle()

    assert ["a", "b"] == [each.model for each in results]
    assert 1 == len(workers.started)
    assert [("a", "b")] == [status.names for status in engine.status()]
    assert await engine.unload("b")
    assert [] == engine.status()


async def test_other_weights_have_a_worker_of_their_own() -> None:
    """A name whose configuration changes leaves the others."""
    workers = FakeWorkers()
    engine = engine_of(workers)
    for each in (named("a"), named("b"), named("b", dtype="float16"), named("a")):
        await Client(engine, each).result()
    await settle()

    assert 2 == len(workers.started)
    assert [("a",), ("b",)] == [status.names for status in engine.status()]
    assert await engine.unload("b")
    assert [("a",)] == [status.names for status in engine.status()]


async def test_a_name_alone_takes_its_queue_along() -> None:
    """Its worker is replaced where its configuration changes, and no process is left."""
    workers = FakeWorkers()
    engine = engine_of(workers)
    for dtype in ("float32", "float16"):
        await Client(engine, named("a", dtype=dtype)).result()
    await settle()

    assert [False, True] == [worker.alive for worker in workers.started]
    await Client(engine, named("b", dtype="float32")).result()
    await Client(engine, named("a", dtype="float32")).result()
    await settle()
    await settle()
    assert [("b", "a")] == [status.names for status in engine.status()]
    assert 1 == sum(worker.alive for worker in workers.started)


async def test_a_load_is_shared_too() -> None:
    """The class that the weights are loaded as divides them."""
    workers = FakeWorkers()
    engine = engine_of(workers)
    model = named("a").model
    await engine.load(model, PIPELINE)
    await engine.load(model.model_copy(update={"name": "b"}), PIPELINE)
    await engine.load(model.model_copy(update={"name": "c"}), "AnotherClass")

    assert 2 == len(workers.started)
