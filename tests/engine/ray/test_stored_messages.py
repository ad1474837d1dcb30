"""Large messages, which pass through the store that servers and nodes share."""

from __future__ import annotations

import asyncio
import os
import pickle
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fake_worker import PIPELINE, model
from octabox.engine.messages import Finished, RunFinished, Start, WorkerOptions
from octabox.engine.ray import stored_messages
from octabox.engine.ray.stored_messages import MAX_AGE, MIN_BYTES, MessageStore, StoredMessage
from octabox.engine.ray.worker_actor import RemoteStart, WorkerActor, open_messages
from octabox.errors import CapacityError, LoadError, WorkerDiedError
from octabox.storage import FileStore
from octabox.types import Artifact, Generation
from queue_houses import until


@pytest.fixture
def messages(tmp_path: Path) -> MessageStore:
    """Return an empty store."""
    return MessageStore(FileStore(str(tmp_path)))


def finished(size: int) -> Finished:
    """Return a result of so many bytes."""
    return Finished(
        "call", Generation("call", "demo", PIPELINE, "text-to-image", (Artifact("image", "image/png", b"x" * size),))
    )


def started(messages: MessageStore, **changes: Any) -> RemoteStart:
    """Return the start of a worker with a store."""
    options = {"store": messages.url, "probe": messages.put(b"octabox"), **changes}
    return RemoteStart(Start(model(), PIPELINE, WorkerOptions()), "/", has_files=False, **options)


def test_a_message_is_taken_once(messages: MessageStore, tmp_path: Path) -> None:
    """After that no file is left."""
    message = messages.put(b"content")

    assert b"content" == messages.take(message)
    assert [] == list((tmp_path / "messages").iterdir())
    with pytest.raises(CapacityError, match="cannot be read"):
        messages.take(message)


def test_what_was_changed_is_not_unpickled(messages: MessageStore, tmp_path: Path) -> None:
    """Whoever may write to the store cannot choose what the server or a worker reads."""
    message = messages.put(b"content")
    (tmp_path / "messages" / message.name).write_bytes(b"CONTENT")

    with pytest.raises(CapacityError, match="was changed"):
        messages.take(message)


def test_no_message_has_the_password_of_the_store() -> None:
    """Neither the error about what was changed, nor what Ray may log of the start of an actor."""
    store = FileStore("memory://me:hunter2@host/octabox")
    messages = MessageStore(store)
    start, message = started(messages), messages.put(b"content")
    store.within("messages").write(message.name, b"CONTENT")
    with pytest.raises(CapacityError, match=r"'memory://\*\*\*@host/octabox' was changed"):
        messages.take(message)

    assert "hunter2" in messages.url
    assert "hunter2" not in repr(start)


async def test_messages_that_nobody_has_taken_are_deleted(
    messages: MessageStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Regularly, also after a failure, those of a server that was killed long ago; those that are under way stay."""
    monkeypatch.setattr(stored_messages, "SWEEP_INTERVAL", 0.01)
    new, sweep, failures = messages.put(b"new"), messages._files.sweep, [OSError("Too many open files.")]

    def fail_once(*details: Any, **names: Any) -> int:
        if failures:
            raise failures.pop()
        return sweep(*details, **names)

    monkeypatch.setattr(messages._files, "sweep", fail_once)
    deleting = asyncio.create_task(messages.delete_old())
    for _ in range(2):
        old = tmp_path / "messages" / messages.put(b"old").name
        os.utime(old, (time.time() - MAX_AGE - 1,) * 2)
        await until(lambda old=old: not old.exists())  # type: ignore[misc]
    deleting.cancel()

    assert b"new" == messages.take(new)
    assert [] == list((tmp_path / "messages").iterdir())


async def test_only_large_results_are_stored(messages: MessageStore, tmp_path: Path) -> None:
    """An actor passes on what is small as it is, and of a large result the name."""
    actor = WorkerActor()
    actor._store = open_messages(started(messages), "10.0.0.7")
    end = WorkerDiedError("The end.")
    for message in (RunFinished("call"), finished(10), finished(MIN_BYTES), end):
        actor._messages.put_nowait(message)
    (found,) = [found async for found in actor.messages()]

    assert [RunFinished("call"), finished(10)] == found[:2]
    assert isinstance(found[2], StoredMessage)
    assert finished(MIN_BYTES) == pickle.loads(messages.take(found[2]))
    assert found[3] is end


async def test_a_store_that_is_full_loses_no_result(messages: MessageStore, tmp_path: Path, caplog: Any) -> None:
    """The result passes through Ray then, and the log states why."""
    actor = WorkerActor()
    actor._store = open_messages(started(messages), "10.0.0.7")
    (tmp_path / "messages").rmdir()
    (tmp_path / "messages").write_bytes(b"not a folder")
    actor._messages.put_nowait(finished(MIN_BYTES))
    found = await anext(actor.messages())

    assert [finished(MIN_BYTES)] == found
    assert "passes through Ray's object store" in caplog.text


def test_a_node_that_does_not_see_the_store_is_named(messages: MessageStore, tmp_path: Path) -> None:
    """A folder of the same path that is another one is noticed before a call is lost by it."""
    with pytest.raises(LoadError, match=r"Node 10\.0\.0\.7 does not see the files of the server in `file_store`"):
        open_messages(started(messages, store=str(tmp_path / "other")), "10.0.0.7")
    assert open_messages(started(messages, store=None), "10.0.0.7") is None


@pytest.mark.parametrize("content", ["gone", "changed", "unreadable"])
async def test_a_message_that_is_lost_ends_the_worker(messages: MessageStore, tmp_path: Path, content: str) -> None:
    """The server learns it, instead of a wait without an end, and no message after that is passed on."""
    actor = WorkerActor()
    actor._store = open_messages(started(messages), "10.0.0.7")
    actor._process = SimpleNamespace()  # type: ignore[assignment]
    message: Any = messages.put(b"not a pickle")
    if content == "gone":
        (tmp_path / "messages" / message.name).unlink()
    elif content == "changed":
        (tmp_path / "messages" / message.name).write_bytes(b"other")
    await actor.send(message)
    actor._messages.put_nowait(RunFinished("call"))
    found = [each async for part in actor.messages() for each in part]

    assert ["WorkerDiedError"] == [type(each).__name__ for each in found]
    assert isinstance(found[0], WorkerDiedError)
    assert found[0].lost
    assert found[0].message.startswith("A message to the worker was lost: ")
