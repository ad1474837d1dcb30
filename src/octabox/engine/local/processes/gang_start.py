"""Start the processes of a model: a worker, and another one for each further device that the model is split over."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from multiprocessing.connection import Connection
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess

from octabox.engine.local.processes.starting import ProcessHandle, start_process
from octabox.engine.messages import Start
from octabox.engine.worker.entry import follow, work


def start_gang(order: Start, context: BaseContext) -> tuple[BaseProcess, Connection, list[ProcessHandle]]:
    """Start the processes of a model, and send the worker among them what to load.

    Args:
        order: The model.
        context: Makes the processes.

    Returns:
        The worker, our end of the pipe to it, and the other processes, which have pipes to the worker alone.

    Raises:
        OSError: One cannot be started, or has ended already; those that were end, since their pipes are closed.
    """
    followers: list[ProcessHandle] = []
    links: list[Connection] = []
    timeout = order.options.silence_timeout
    try:
        for _ in range(order.model.device_count - 1):
            process, link = start_process(context, follow, timeout)
            followers.append(ProcessHandle(process))
            links.append(link)
        worker = partial(work, followers=tuple(links)) if links else work
        process, connection = start_process(context, worker, timeout)
        try:
            connection.send(order)
        except BaseException:
            connection.close()
            followers.append(ProcessHandle(process))
            raise
    except BaseException:
        _close(links)
        for each in followers:
            each.join()  # They end with their pipes; without it, the descriptors of the processes stay open.
        raise
    _close(links)
    return process, connection, followers


def _close(links: Iterable[Connection]) -> None:
    """Close our copies of the ends of pipes that the worker has."""
    for link in links:
        link.close()
