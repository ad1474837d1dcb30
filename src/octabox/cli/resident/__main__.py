"""The process of the server in the background: ``python -m octabox.cli.resident SOCKET``."""

from __future__ import annotations

import argparse
import asyncio
import logging
import math
import os
import signal
import sys
import threading
from pathlib import Path

from octabox.cli.resident.app import ResidentApp
from octabox.cli.resident.runtime import code_stamp
from octabox.cli.resident.serving import SocketServer
from octabox.config.settings import Settings
from octabox.server import build, end_processes

#: Seconds that a server without an owner stays without requests, unless the setting `keep_alive` is another.
KEEP_ALIVE = 300.0

#: Seconds between two checks whether it is still needed.
INTERVAL = 5.0

#: Seconds in which the process ends once its engine is closed.
DEADLINE = 0.8

logger = logging.getLogger("octabox.run")


def main() -> None:
    """Serve until there was no request for some time, or until stopped."""
    parser = argparse.ArgumentParser()
    parser.add_argument("socket", type=Path)
    parser.add_argument("--models", type=Path)
    parser.add_argument("--owner", type=int)
    arguments = parser.parse_args()
    asyncio.run(_serve(arguments.socket, arguments.models, arguments.owner))


async def _serve(path: Path, models: Path | None, owner: int | None) -> None:
    """Serve on a socket until the server is not needed any more."""
    settings = Settings.load({"models": models, "allow_hub": True})
    parts = build(settings)

    def stop() -> None:
        server.remove()  # First, so that the next client starts another server.
        stopped.set()

    stopped = asyncio.Event()
    app = ResidentApp(parts, settings, stop, owned=owner is not None)
    server = SocketServer(path, app.app)
    serving = server.start()
    if serving is None:
        sys.exit(f"{path} is the socket of another server")
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, stop)
    keep_alive = math.inf if owner is not None else KEEP_ALIVE if settings.keep_alive is None else settings.keep_alive
    watching = [asyncio.create_task(stopped.wait()), asyncio.create_task(_watch(app, path, keep_alive, owner))]
    try:
        await asyncio.wait({serving, *watching}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        stop()
        for task in watching:
            task.cancel()
        app.stopping.set()
        await parts.close()  # Each request ends with an error, which its client receives.
        _end_within(DEADLINE)
        await server.stop()
        await end_processes()


def _end_within(seconds: float) -> None:
    """End this process after some time, whatever its threads do: the first reading of the catalog takes many seconds."""
    timer = threading.Timer(seconds, os._exit, [0])
    timer.daemon = True
    timer.start()


async def _watch(app: ResidentApp, path: Path, keep_alive: float, owner: int | None) -> None:
    """Return when the server is idle and not needed: after some time, or when its code or its socket has changed."""
    before = await asyncio.to_thread(_stamp, path)
    while True:
        await asyncio.sleep(min(INTERVAL, max(keep_alive / 4, 0.05)))
        if owner is not None and os.getppid() != owner:
            return
        if not app.idle_seconds:
            continue
        if app.idle_seconds > keep_alive:
            logger.info("There was no request for %g seconds", keep_alive)
            return
        if await asyncio.to_thread(_stamp, path) != before:
            logger.info("The code or the socket has changed")
            return


def _stamp(path: Path) -> list[int]:
    """Return what changes with the code and with the socket."""
    try:
        return [*code_stamp(), path.stat().st_ino]
    except OSError:
        return []


if __name__ == "__main__":
    main()
