"""The server's end of a worker on another machine."""

from __future__ import annotations

import asyncio
import pickle
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import pytest
import ray

from fake_worker import PIPELINE, call, model
from octabox.engine.local.processes.channel import pack
from octabox.engine.messages import CancelCall, RunCall, Start, WorkerOptions
from octabox.engine.ray import ray_worker
from octabox.engine.ray.ray_worker import RayWorker, _as_lost, in_place
from octabox.engine.ray.stored_messages import MessageStore, StoredMessage
from octabox.engine.ray.worker_actor import Started
from octabox.errors import WorkerDiedError


class Reserved:
    """A place on a node that is not there."""

    def __init__(self) -> None:
        self.released = asyncio.Event()

    async def release(self) -> None:
        """Note that it was given up."""
        self.released.set()


async def _nothing() -> None:
    """Do nothing."""


async def _no_messages() -> AsyncIterator[Any]:
    await asyncio.Event().wait()
    yield


def worker_of(
    monkeypatch: pytest.MonkeyPatch,
    send: Callable[[Any], Awaitable[None]],
    stop: Callable[[], Awaitable[None]],
    store: MessageStore | None = None,
) -> tuple[RayWorker, Reserved]:
    """Return a worker whose actor is not on a cluster, and its place."""
    monkeypatch.setattr(ray, "kill", lambda _: None)
    calls = {"messages": _no_messages, "send": send, "stop": stop}
    actor = SimpleNamespace(**{name: SimpleNamespace(remote=each) for name, each in calls.items()})
    reserved: Any = Reserved()
    return RayWorker("demo", actor, Started(1, "10.0.0.7"), reserved, lambda _: None, store), reserved


def test_a_place_without_an_accelerator_is_on_the_cpu() -> None:
    """The worker would use an accelerator of the node that another replica has reserved; what has one selects it itself."""
    order = Start(model(device=None), PIPELINE, WorkerOptions())
    places = [in_place(order, resources).model.device for resources in ({"CPU": 1.0}, {"GPU": 0.5}, {"GPU": 1.0})]

    assert ["cpu", None, None] == places


async def test_an_end_that_nobody_waits_for_gives_the_place_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that stops may not wait until the actor has ended its process."""
    waits = asyncio.Event()

    async def stop() -> None:
        waits.set()
        await asyncio.Event().wait()

    async def send(_content: Any) -> None:
        raise NotImplementedError

    worker, reserved = worker_of(monkeypatch, send, stop)
    task = asyncio.create_task(worker.stop())
    await waits.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert reserved.released.is_set()


class SlowStore:
    """A store for large messages that takes its time."""

    def put(self, content: bytes) -> StoredMessage:
        """Write a message."""
        time.sleep(0.1)
        return StoredMessage(content.decode("latin-1"), "")


async def test_no_message_overtakes_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker drops the cancellation of a call that it does not know yet, which is written to the store, and read from it."""
    begun, passed, both = call(), list[str](), asyncio.Event()

    async def send(content: bytes | StoredMessage) -> None:
        if isinstance(content, StoredMessage):
            await asyncio.sleep(0.1)
            content = content.name.encode("latin-1")
        passed.append(type(pickle.loads(content)).__name__)
        if len(passed) > 1:
            both.set()

    monkeypatch.setattr(ray_worker, "MIN_BYTES", len(pack(CancelCall(begun.id))) + 1)
    store: Any = SlowStore()
    worker, _ = worker_of(monkeypatch, send, _nothing, store)
    await asyncio.gather(worker.send(RunCall(begun)), worker.send(CancelCall(begun.id)))
    await both.wait()

    assert ["RunCall", "CancelCall"] == passed
    await worker.stop()


def test_only_a_process_that_ends_by_itself_has_exited() -> None:
    """What it ran may be the cause then; neither a node that is lost nor a hung process says so."""
    ended, lost = WorkerDiedError("It was killed."), WorkerDiedError("The node is lost.", lost=True)
    ends = [_as_lost(each) for each in (ended, lost)]

    assert [(True, True), (True, False)] == [
        (each.lost, each.exited) for each in ends if isinstance(each, WorkerDiedError)
    ]
