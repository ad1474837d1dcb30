"""The process of the server in the background: ``python -m octabox.cli.resident SOCKET``."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import uvicorn

from octabox.cli.resident.app import ResidentApp
from octabox.cli.resident.runtime import code_stamp
from octabox.config.settings import Settings
from octabox.server import build, end_processes

#: Seconds that it stays without requests, unless the setting `keep_alive` is another.
KEEP_ALIVE = 300.0

#: Seconds between two checks whether it is still needed.
INTERVAL = 5.0

logger = logging.getLogger("octabox.run")


class _Server(uvicorn.Server):
    """uvicorn server whose signals are handled here: uvicorn would raise them again before everything is closed."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone."""
        yield


def main() -> None:
    """Serve until there was no request for some time, or until stopped."""
    parser = argparse.ArgumentParser()
    parser.add_argument("socket", type=Path)
    parser.add_argument("--models", type=Path)
    parser.add_argument("--owner", type=int)
    arguments = parser.parse_args()
    listener = _listen(arguments.socket)
    if listener is None:
        sys.exit(f"{arguments.socket} is the socket of another server")
    try:
        asyncio.run(_serve(listener, arguments.socket, arguments.models, arguments.owner))
    finally:
        listener.close()


async def _serve(listener: socket.socket, path: Path, models: Path | None, owner: int | None) -> None:
    """Serve on a socket until the server is not needed any more."""
    settings = Settings.load({"models": models, "allow_hub": True})
    parts = build(settings)

    def stop() -> None:
        path.unlink(missing_ok=True)  # First, so that the next client starts another server.
        stopped.set()

    stopped = asyncio.Event()
    app = ResidentApp(parts, settings, stop)
    config = uvicorn.Config(app.app, lifespan="off", log_config=None, access_log=False, timeout_graceful_shutdown=5)
    server = _Server(config)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, stop)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    keep_alive = KEEP_ALIVE if settings.keep_alive is None else settings.keep_alive
    watching = asyncio.create_task(_watch(app, path, keep_alive, owner))
    try:
        await asyncio.wait({serving, watching, asyncio.create_task(stopped.wait())}, return_when="FIRST_COMPLETED")
    finally:
        path.unlink(missing_ok=True)
        watching.cancel()
        await parts.close()  # Each request ends with an error, which its client receives.
        server.should_exit = True
        await asyncio.gather(serving, watching, return_exceptions=True)
        await end_processes()


async def _watch(app: ResidentApp, path: Path, keep_alive: float, owner: int | None) -> None:
    """Return when the server is idle and not needed: after some time, or when its code or its socket has changed."""
    stamp, inode = await asyncio.to_thread(code_stamp), path.stat().st_ino
    while True:
        await asyncio.sleep(min(INTERVAL, max(keep_alive / 4, 0.05)))
        if not app.idle_seconds:
            continue
        if app.idle_seconds > keep_alive:
            logger.info("There was no request for %g seconds", keep_alive)
            return
        if owner is not None and os.getppid() != owner:
            return
        with contextlib.suppress(OSError):
            if path.stat().st_ino == inode and await asyncio.to_thread(code_stamp) == stamp:
                continue
        logger.info("The code or the socket has changed")
        return


def _listen(path: Path) -> socket.socket | None:
    """Return a socket that only this user can connect to; None if another server has it."""
    listener = socket.socket(socket.AF_UNIX)
    mask = os.umask(0o177)
    try:
        listener.bind(str(path))
    except OSError:
        listener.close()
        return None
    finally:
        os.umask(mask)
    listener.listen(64)
    return listener


if __name__ == "__main__":
    main()
