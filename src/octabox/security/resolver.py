"""Resolve host names in separate threads, so that a name server that does not answer delays nothing else."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable
from typing import Any

#: Maximum number of names that are resolved together.
MAX_LOOKUPS = 8


class SystemResolver:
    """Resolves names by the system's resolver, which may wait for many seconds.

    The threads are daemons, since a look-up cannot be cancelled and the end of the server must not wait for it.

    Args:
        max_lookups: Maximum number of names that are resolved together.
    """

    def __init__(self, max_lookups: int = MAX_LOOKUPS) -> None:
        self._free = asyncio.Semaphore(max_lookups)

    async def __call__(self, host: str, port: int) -> list[str]:
        """Return the addresses of a host.

        Raises:
            OSError: It has none.
            UnicodeError: It is not a valid name.
        """
        await self._free.acquire()
        loop = asyncio.get_running_loop()
        result: asyncio.Future[list[str]] = loop.create_future()

        def end(resolve: Callable[[Any], None], value: Any) -> None:
            self._free.release()
            if not result.done():  # The caller may have left.
                resolve(value)

        def run() -> None:
            try:
                outcome: tuple[Callable[[Any], None], Any] = (result.set_result, _addresses(host, port))
            except Exception as error:  # noqa: BLE001 (it is raised where the result is awaited)
                outcome = (result.set_exception, error)
            with contextlib.suppress(RuntimeError):  # The event loop is closed.
                loop.call_soon_threadsafe(end, *outcome)

        threading.Thread(target=run, name=f"resolver of {host[:50]}", daemon=True).start()
        return await result


def _addresses(host: str, port: int) -> list[str]:
    """Return the addresses of a host; blocks."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))
