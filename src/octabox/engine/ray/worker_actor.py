"""The actor that keeps a worker process on a node of the cluster, and passes its messages on."""

from __future__ import annotations

import asyncio
import logging
import os
import pickle
import sys
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ray

from octabox.engine.local.processes.forkserver import ProcessStarter
from octabox.engine.local.processes.worker_process import WorkerProcess
from octabox.engine.messages import Finished, FromWorker, Start
from octabox.engine.ray.connection import node_address
from octabox.engine.ray.draining.open_calls import OpenCalls, RunningCalls
from octabox.engine.ray.stored_messages import MIN_BYTES, MessageStore, StoredMessage
from octabox.engine.threads import THREAD_VARIABLES
from octabox.errors import CapacityError, LoadError, OctaboxError, WorkerDiedError
from octabox.storage import FileStore

logger = logging.getLogger("octabox.engine")

#: What an actor passes on: the messages of its worker; the last one is the error that states how the worker ended.
Messages = list[FromWorker | StoredMessage | OctaboxError]


@dataclass(frozen=True)
class RemoteStart:
    """What an actor is to start.

    Args:
        order: The model.
        folder: Working folder of the server, which relative paths refer to.
        has_files: Whether the model is a folder or file of the server, and not an id of the Hub.
        store: URL of the store for large messages; None if there is none.
        probe: A message that the server has written there.
    """

    order: Start
    folder: str
    has_files: bool
    store: str | None = field(default=None, repr=False)  # It may have a password.
    probe: StoredMessage | None = None


@dataclass(frozen=True)
class Started:
    """Where a worker was started.

    Args:
        pid: Id of its process on that node.
        node: Address of the node.
        card: Id of the accelerator that the actor has a share of; None if it has none.
    """

    pid: int | None
    node: str
    card: str | None = None


class WorkerActor:
    """A worker process of this node, in the care of an actor: the same process as on a single machine."""

    def __init__(self) -> None:
        self._messages: asyncio.Queue[FromWorker | OctaboxError] = asyncio.Queue()
        self._process: WorkerProcess | None = None
        self._store: MessageStore | None = None
        self._model, self._calls = "", OpenCalls()

    async def start(self, start: RemoteStart) -> Started:
        """Start the process, which loads the model.

        Raises:
            LoadError: The model's files are not on this node, or the files that servers and nodes share.
            WorkerDiedError: The process could not be started.
        """
        node = node_address()
        _enter(start.folder)
        check_files(start, node)
        self._store = await asyncio.to_thread(open_messages, start, node)
        _prepare_environment()
        self._model = start.order.model.name
        context = ProcessStarter(spawns=True).context
        self._process = await WorkerProcess.start(start.order, self._receive, context)
        return Started(self._process.pid, node, _assigned_card())

    async def send(self, content: bytes | StoredMessage) -> None:
        """Send a message, as `pack` has written it, to the process.

        Where it is lost on the way, the worker counts as ended: the server waits for an answer, and runs the call elsewhere.
        """
        try:
            if isinstance(content, StoredMessage):
                assert self._store  # noqa: S101 (the server uses it only where this node does)
                content = await asyncio.to_thread(self._store.take, content)
            if self._process:
                message = pickle.loads(content)  # noqa: S301 (the server has written it)
                if not self._calls.accept(message):
                    return
                await self._process.send(message, content)
        except Exception as error:  # noqa: BLE001 (whatever it is, no answer will come)
            self._messages.put_nowait(_lost_message(error))

    async def messages(self) -> AsyncGenerator[Messages, None]:
        """Yield the messages of the process, those together that arrive together."""
        while True:
            found = [await self._messages.get()]
            while not self._messages.empty():
                found.append(self._messages.get_nowait())
            end = next((number for number, each in enumerate(found) if isinstance(each, OctaboxError)), None)
            # A process that a message did not reach may send others after the error, which the server does not wait for.
            yield [await self._stored(message) for message in (found if end is None else found[: end + 1])]
            if end is not None:
                return

    async def drain(self) -> RunningCalls:
        """Accept no further calls, and end once those that run are done; return how many do.

        The server learns that the worker has ended, and runs calls that were sent meanwhile elsewhere.
        """
        if not self._calls.draining:
            self._calls.draining = True
            self._end_drained()
        return RunningCalls(self._model, len(self._calls))

    def _receive(self, message: FromWorker | OctaboxError) -> None:
        """Pass a message of the process on."""
        self._calls.note(message)
        self._messages.put_nowait(message)
        if not isinstance(message, OctaboxError):
            self._end_drained()

    def _end_drained(self) -> None:
        """Report the worker as ended, if its node is to end and it has no calls left."""
        if self._calls.drained:
            self._messages.put_nowait(_drained(self._model))

    async def stop(self) -> None:
        """End the process, and wait for its end, but not indefinitely."""
        if self._process:
            await self._process.stop()

    async def _stored(self, message: FromWorker | OctaboxError) -> FromWorker | StoredMessage | OctaboxError:
        """Return a message, or where it was stored, since it is large."""
        if self._store is None or not isinstance(message, Finished):
            return message
        if sum(len(each.content) for each in message.generation.artifacts) < MIN_BYTES:
            return message
        try:
            return await asyncio.to_thread(self._store.put, pickle.dumps(message))
        except CapacityError as error:
            logger.warning("A result passes through Ray's object store: %s", error)
            return message


def _drained(model: str) -> WorkerDiedError:
    """Return the error of a worker whose node is to end."""
    hint = "It runs again on another node, if one has a place for it."
    return WorkerDiedError(f"The worker of model '{model}' was ended with its node.", lost=True, hint=hint, model=model)


def open_messages(start: RemoteStart, node: str) -> MessageStore | None:
    """Return the store for large messages, in which this node sees what the server has written.

    Raises:
        LoadError: It does not.
    """
    if start.store is None or start.probe is None:
        return None
    try:
        messages = MessageStore(FileStore(start.store))
        messages.take(start.probe)
    except OctaboxError as error:
        raise LoadError(
            f"Node {node} does not see the files of the server in `file_store`: {error.message}",
            hint=error.hint,
            model=start.order.model.name,
        ) from error
    return messages


def _lost_message(error: Exception) -> WorkerDiedError:
    """Return the error of a worker that a message has not reached."""
    reason = error.message if isinstance(error, OctaboxError) else f"{type(error).__name__}: {error}"
    hint = error.hint if isinstance(error, OctaboxError) else ""
    return WorkerDiedError(f"A message to the worker was lost: {reason}", lost=True, hint=hint)


def check_files(start: RemoteStart, node: str) -> None:
    """Check that a model that the server has as files is on this node.

    Raises:
        LoadError: It is not.
    """
    model = start.order.model
    if start.has_files and not Path(model.model).exists():
        raise LoadError(
            f"Node {node} has no file or folder {model.model}, which model '{model.name}' is loaded from.",
            hint="Mount the folder of models at the same path on all nodes, or use an id of the Hub.",
            model=model.name,
        )


def _enter(folder: str) -> None:
    """Change to the working folder of the server, where this node has it, since paths may be relative."""
    if Path(folder).is_dir():
        os.chdir(folder)


def _prepare_environment() -> None:
    """Undo what an actor's process has and a worker must not have."""
    # A spawned process would import this main module, and with it ray, which no worker needs.
    vars(sys.modules["__main__"]).pop("__file__", None)
    # Ray limits torch to the CPUs that the actor has reserved, or to one; the number of threads is a setting.
    reserved = max(int(_assigned_resources().get("CPU", 0)), 1)
    for name in THREAD_VARIABLES:
        if os.environ.get(name) == str(reserved):
            del os.environ[name]


def _assigned_card() -> str | None:
    """Return the id of the accelerator that this actor has a share of; None if it has none."""
    return next(iter(ray.get_runtime_context().get_accelerator_ids().get("GPU", ())), None)


def _assigned_resources() -> dict[str, Any]:
    return dict(ray.get_runtime_context().get_assigned_resources())  # type: ignore[no-untyped-call]
