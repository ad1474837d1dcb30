"""The server's end of a worker on another machine, which behaves as one on this machine does."""

from __future__ import annotations

import asyncio
import contextlib
import pickle
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import lru_cache
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayActorError, RayError, RayTaskError

from octabox.config.model import ModelConfig
from octabox.engine.local.processes.channel import pack_message
from octabox.engine.local.processes.liveness import SHUTDOWN_TIMEOUT
from octabox.engine.local.processes.worker_process import Listener
from octabox.engine.messages import FromWorker, Start, ToWorker
from octabox.engine.ray.draining.node_drain import worker_name
from octabox.engine.ray.placement_groups import Reservation
from octabox.engine.ray.resources import Resources
from octabox.engine.ray.stored_messages import MIN_BYTES, MessageStore, StoredMessage
from octabox.engine.ray.worker_actor import RemoteStart, Started, WorkerActor
from octabox.errors import CapacityError, LoadError, OctaboxError, WorkerDiedError

#: Reserves a place for a model.
Reserve = Callable[[ModelConfig], Awaitable[Reservation]]


class RayWorker:
    """A worker process on a node, and the actor that keeps it.

    Args:
        model: Name of its model.
        actor: The actor.
        started: Where its process is.
        reservation: Its place.
        listener: Called with each message; the last one is an error, once the worker has ended.
        messages: Where large messages are stored; None leaves them to Ray.
    """

    def __init__(
        self,
        model: str,
        actor: Any,
        started: Started,
        reservation: Reservation,
        listener: Listener,
        messages: MessageStore | None = None,
    ) -> None:
        self._messages = messages
        self._model, self._actor, self._started, self._reservation = model, actor, started, reservation
        self._listener, self._alive = listener, True
        self._sends: set[asyncio.Task[None]] = set()
        self._packing, self._sending = asyncio.Lock(), asyncio.Lock()
        self._receiving = asyncio.get_running_loop().create_task(self._receive(), name=f"messages of {model}")

    @classmethod
    async def start(
        cls,
        reserve: Reserve,
        order: Start,
        listener: Listener,
        context: BaseContext,
        messages: MessageStore | None = None,
    ) -> RayWorker:
        """Start an actor with a process that loads a model; the answer comes as a message.

        Args:
            reserve: Reserves its place.
            order: The model.
            listener: Receives the messages.
            context: Of no use, since the actor makes the process.
            messages: Where large messages are stored; None leaves them to Ray.

        Raises:
            CapacityError: No node has a place, or nothing can be stored.
            LoadError: The model's files are not on the node, or the node cannot run a worker.
            WorkerDiedError: The actor or its node has ended.
        """
        del context
        reservation = await reserve(order.model)
        try:
            actor = await _create_actor(reservation)
            has_files = await asyncio.to_thread(Path(order.model.model).exists)
            start = RemoteStart(in_place(order, reservation.resources), str(Path.cwd()), has_files)
            if messages:
                start = replace(start, store=messages.url, probe=await asyncio.to_thread(messages.put, b"octabox"))
            started = await actor.start.remote(start)
            reservation.note_card(started.card)
        except BaseException as error:
            await asyncio.shield(reservation.release())
            if isinstance(error, RayError):
                raise start_error(error, order.model.name) from error
            raise
        return cls(order.model.name, actor, started, reservation, listener, messages)

    @property
    def pid(self) -> int | None:
        """The process id on its node."""
        return self._started.pid

    @property
    def node(self) -> str:
        """Address of its node."""
        return self._started.node

    @property
    def alive(self) -> bool:
        """Whether the worker is not known to have ended."""
        return self._alive

    async def send(self, message: ToWorker) -> None:
        """Send a message, without waiting until it is read; where the worker has ended it is lost, as the listener learns.

        They arrive in their order: a worker drops the cancellation of a call that it does not know yet.

        Raises:
            InvalidParameterError: A parameter cannot be sent, such as one that is nested too deeply.
            CapacityError: It is large, and cannot be stored.
        """
        async with self._packing:
            content = await _packed(message, self._messages)
            task = asyncio.create_task(self._send(content), name=f"message to {self._model}")
        self._sends.add(task)
        task.add_done_callback(self._sends.discard)

    async def stop(self) -> None:
        """End the worker, and wait for its end, but not indefinitely."""
        self._alive = False
        self._receiving.cancel()
        try:
            with contextlib.suppress(RayError, asyncio.TimeoutError):
                # The process may take as long to end, and then is killed.
                await asyncio.wait_for(_result(self._actor.stop.remote()), 2 * SHUTDOWN_TIMEOUT)
        finally:  # Also where nobody waits for it any more: the place would be lost for good.
            await self._end()

    async def _send(self, content: bytes | StoredMessage) -> None:
        """Send a message once the actor has those before it; where the actor has ended, `_receive` reports it."""
        # While an actor takes a message out of the store, it would pass the next one on.
        async with self._sending:
            with contextlib.suppress(RayError):
                await self._actor.send.remote(content)

    async def _receive(self) -> None:
        """Pass messages to the listener until the worker or its node ends."""
        error: OctaboxError | None = None
        try:
            async for reference in self._actor.messages.remote():
                for received in await reference:
                    message = await _taken(received, self._messages)
                    if isinstance(message, OctaboxError):
                        error = _as_lost(message)
                    else:
                        self._listener(message)
        except RayError as raised:
            error = lost_error(raised, self._model, self.node)
        except CapacityError as raised:
            reason = f"The result of model '{self._model}' on node {self.node} was lost: {raised.message}"
            error = WorkerDiedError(reason, lost=True, hint=raised.hint, model=self._model)
        self._alive = False
        # Before others are informed, so that the place is free for the next worker, and nothing runs there twice.
        await self._end()
        self._listener(error or WorkerDiedError(f"The worker of model '{self._model}' has ended.", model=self._model))

    async def _end(self) -> None:
        """End the actor, and give its place up."""
        with contextlib.suppress(RayError, ValueError):
            ray.kill(self._actor)
        await asyncio.shield(self._reservation.release())


@lru_cache(maxsize=1)
def _actor_class() -> Any:
    """Return the class of actors; it is made on use, since that needs a connection in some versions of Ray."""
    return ray.remote(max_restarts=0, max_task_retries=0)(WorkerActor)


async def _create_actor(reservation: Reservation) -> Any:
    """Create an actor in a place; it has a name, by which the end of its node finds it."""
    options = _actor_class().options(
        name=worker_name(await reservation.node()),
        num_cpus=reservation.resources.get("CPU", 0),
        num_gpus=reservation.resources.get("GPU", 0),
        memory=reservation.resources.get("memory"),
        scheduling_strategy=reservation.strategy,
    )
    return await asyncio.to_thread(options.remote)  # One with a name is registered at the head before this returns.


async def _packed(message: ToWorker, messages: MessageStore | None) -> bytes | StoredMessage:
    """Return a message as bytes, or where it was stored, since it is large.

    Raises:
        InvalidParameterError: A parameter cannot be sent.
        CapacityError: It cannot be stored.
    """
    content = bytes(await pack_message(message))
    return await asyncio.to_thread(messages.put, content) if messages and len(content) >= MIN_BYTES else content


async def _taken(
    message: FromWorker | StoredMessage | OctaboxError, messages: MessageStore | None
) -> FromWorker | OctaboxError:
    """Return a message, which may have been stored.

    Raises:
        CapacityError: It cannot be read.
    """
    if not isinstance(message, StoredMessage):
        return message
    assert messages  # noqa: S101 (the actor has the store from this worker)
    content = await asyncio.to_thread(messages.take, message)
    return pickle.loads(content)  # type: ignore[no-any-return]  # noqa: S301 (its digest is that of the actor)


async def _result(reference: Any) -> Any:
    return await reference


def _as_lost(error: OctaboxError) -> OctaboxError:
    """Return how a worker ended: another node may load its model, unless it would hang there, too."""
    if isinstance(error, WorkerDiedError):
        # A worker that its node has not reported as lost has ended by itself, perhaps by what it ran.
        error.exited = not error.lost
        error.lost = not error.hung
    return error


def in_place(order: Start, resources: Resources) -> Start:
    """Return the start of a worker with the device of its place: one without an accelerator must use none of its node.

    Args:
        order: The start.
        resources: What was reserved. Ray does not hide the accelerators of a node from an actor that has reserved none.
    """
    if resources.get("GPU"):
        return order
    return replace(order, model=order.model.model_copy(update={"device": "cpu"}))


def start_error(error: RayError, model: str) -> OctaboxError:
    """Return the error of a worker that could not be started."""
    cause = error.cause if isinstance(error, RayTaskError) else None
    if isinstance(cause, OctaboxError):
        return cause
    if isinstance(error, OctaboxError):  # Ray makes a class of both kinds.
        return cause or WorkerDiedError(error.message, lost=True, hint=error.hint, model=model)
    text = _last_line(error)
    if "ModuleNotFoundError" in text or "ImportError" in text:
        hint = "Install the same version of octabox with the extra `ray` on all nodes."
        return LoadError(f"A node cannot run a worker of model '{model}': {text}", hint=hint, model=model)
    return WorkerDiedError(f"The worker of model '{model}' was lost while it started: {text}", lost=True, model=model)


def lost_error(error: RayError, model: str, node: str) -> WorkerDiedError:
    """Return the error of a worker whose actor or node has ended."""
    reason = "its process or its node has ended" if isinstance(error, RayActorError) else _last_line(error)
    hint = "`octabox cluster status` lists the nodes; the logs of Ray state how a process ended."
    message = f"The worker of model '{model}' on node {node} was lost: {reason}."
    return WorkerDiedError(message, lost=True, hint=hint, model=model)


def _last_line(error: RayError) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return next((line for line in lines if "ModuleNotFoundError" in line), lines[-1] if lines else type(error).__name__)
