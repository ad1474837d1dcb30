"""What keeps a message, a worker or a fork server that does not behave from holding up everybody else."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncGenerator, Callable
from multiprocessing.reduction import ForkingPickler
from typing import Any, Protocol, TypeVar

from octabox.engine.messages import RunCall, ToWorker
from octabox.errors import InvalidParameterError

T = TypeVar("T")

#: Seconds between looks at a worker that is to become idle.
CHECK_SECONDS = 1.0


class Checked(Protocol):
    """A worker as `watched` sees it."""

    async def check(self) -> None:
        """End it where it shows no sign of life."""


@contextlib.asynccontextmanager
async def watched(worker: Callable[[], Checked | None]) -> AsyncGenerator[None, None]:
    """Within the context, check a worker again and again, since somebody waits for it to become idle.

    Args:
        worker: Returns the worker that there is at the moment.
    """

    async def watch() -> None:
        while True:
            if now := worker():
                await now.check()
            await asyncio.sleep(CHECK_SECONDS)

    task = asyncio.create_task(watch(), name="watch over a worker")
    try:
        yield
    finally:
        task.cancel()


async def in_daemon_thread(start: Callable[[], T]) -> T:
    """Start a process in a thread that the end of the server does not wait for, since a fork server may never answer.

    A process that is there only after nobody waits for it any more ends by itself: its pipe is closed.
    """
    loop = asyncio.get_running_loop()
    started: asyncio.Future[T] = loop.create_future()

    def settle(process: T | None, error: BaseException | None) -> None:
        if not started.done() and error is not None:
            started.set_exception(error)
        elif not started.done() and process is not None:
            started.set_result(process)

    def run() -> None:
        try:
            outcome: tuple[T | None, BaseException | None] = start(), None
        except Exception as error:  # noqa: BLE001 (it is raised where the process is awaited)
            outcome = None, error
        with contextlib.suppress(RuntimeError):  # The loop has ended.
            loop.call_soon_threadsafe(settle, *outcome)

    threading.Thread(target=run, name="start of a worker", daemon=True).start()
    return await started


def pack(message: ToWorker) -> Any:
    """Return a message as bytes.

    Raises:
        InvalidParameterError: It holds a parameter that cannot be sent.
    """
    try:
        return ForkingPickler.dumps(message)
    except Exception as error:
        if not isinstance(message, RunCall):
            raise
        params = [item for run in message.call.runs for item in run.params.items()]
        name = next((name for name, value in params if not _can_pack(value)), None)
        reason = "is nested too deeply" if isinstance(error, RecursionError) else f"cannot be sent to a worker: {error}"
        raise InvalidParameterError(
            f"{f'`{name}`' if name else 'The request'} {reason}.",
            hint="Send plain values, in few levels.",
            model=message.call.model.name,
            parameter=name,
        ) from error


def _can_pack(value: Any) -> bool:
    """Return whether a value can be sent."""
    try:
        ForkingPickler.dumps(value)
    except Exception:  # noqa: BLE001 (classes raise what they like)
        return False
    return True
