"""Let a node take no further calls, and wait for those that run there."""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

import psutil
import ray
from ray.core.generated import autoscaler_pb2
from ray.exceptions import RayError

from octabox.engine.ray.connection import all_nodes, connect, disconnect
from octabox.engine.ray.draining.open_calls import RunningCalls
from octabox.errors import ConfigError

logger = logging.getLogger("octabox.engine")

#: Seconds between two looks at the calls that run, and for a worker to answer.
POLL, ANSWER_TIMEOUT = 0.5, 10.0

#: What the names of the actors of workers begin with.
_PREFIX = "worker"


def worker_name(node: str) -> str:
    """Return a new name for the actor of a worker, by which `drain_node` finds those of its node.

    Args:
        node: Id of the node.
    """
    return f"{_PREFIX} {node} {uuid.uuid4().hex}"


def workers_on(node: str, names: Iterable[str]) -> list[str]:
    """Return which of these names of actors are those of workers on a node."""
    return [name for name in names if name.startswith(f"{_PREFIX} {node} ")]


def drain_node(
    head: str, processes: Collection[psutil.Process], timeout: float, report: Callable[[str], None]
) -> Sequence[RunningCalls]:
    """Let the node of this machine take no further replicas and calls, and wait until none runs there.

    Args:
        head: ``host:port`` of the head of its cluster.
        processes: The processes of the node.
        timeout: Seconds to wait.
        report: Called with what it waits for, each time that changes.

    Returns:
        The calls that run still.

    Raises:
        ConfigError: The cluster does not answer.
    """
    connected = connect(head)
    try:
        node = node_of(processes, all_nodes())
        if node is None:
            return ()
        _refuse_placements(node, timeout)
        return asyncio.run(_wait(node, time.monotonic() + timeout, report))
    except RayError as error:
        raise ConfigError(f"The cluster at {head} does not answer: {error}") from error
    finally:
        if connected:
            disconnect()


def node_of(processes: Collection[psutil.Process], nodes: Iterable[dict[str, Any]]) -> str | None:
    """Return the id of the node that has these processes; None where it is not a part of the cluster.

    Several nodes of a machine have the same address, but each its own socket, which is an argument of its main process.

    Args:
        processes: The processes.
        nodes: The nodes of the cluster, as Ray describes them.
    """
    arguments = {argument for process in processes for argument in _arguments(process)}
    alive = [node for node in nodes if node["Alive"]]
    return next((n["NodeID"] for n in alive if f"--raylet_socket_name={n['RayletSocketName']}" in arguments), None)


def describe(running: Sequence[RunningCalls]) -> str:
    """Return what is waited for, in words."""
    counts = ", ".join(f"{each.count} of '{each.model}'" for each in running)
    return f"Waiting for the calls that run on this node: {counts}."


def _refuse_placements(node: str, timeout: float) -> None:
    """Let nothing more be placed on a node; where Ray refuses that, its workers still take no calls."""
    deadline = round((time.time() + timeout) * 1000)
    reasons: Any = vars(autoscaler_pb2)["DrainNodeReason"]  # It has no types.
    reason = reasons.Value("DRAIN_NODE_REASON_PREEMPTION")
    worker: Any = ray._private.worker.global_worker  # noqa: SLF001 (Ray has only a hidden command for it)
    accepted, why = worker.gcs_client.drain_node(node, reason, "octabox cluster down", deadline)
    if not accepted:
        logger.warning("Models may still be placed on this node: %s", why)


async def _wait(node: str, end: float, report: Callable[[str], None]) -> Sequence[RunningCalls]:
    """Wait until no call runs on a node, or the time is up; return those that do."""
    text = ""
    while True:
        names = workers_on(node, await asyncio.to_thread(ray.util.list_named_actors))
        found = await asyncio.gather(*map(_drain, names))
        running = [each for each in found if each and each.count]
        if not running or time.monotonic() >= end:
            return running
        if describe(running) != text:
            text = describe(running)
            report(text)
        await asyncio.sleep(POLL)


async def _drain(name: str) -> RunningCalls | None:
    """Let a worker take no further calls, and return those that it has; None where it has ended or does not answer."""
    try:
        actor = await asyncio.to_thread(ray.get_actor, name)
        return await asyncio.wait_for(_answer(actor.drain.remote()), ANSWER_TIMEOUT)
    except (ValueError, RayError, asyncio.TimeoutError):
        return None


async def _answer(reference: Any) -> RunningCalls:
    answer: RunningCalls = await reference
    return answer


def _arguments(process: psutil.Process) -> list[str]:
    try:
        return list(process.cmdline())
    except psutil.Error:
        return []
