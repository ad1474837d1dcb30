"""Serve an application on the socket of a user."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from octabox.cli.resident.app import ResidentApp
from octabox.cli.resident.launcher import end_servers
from octabox.cli.resident.runtime import runtime_folder, socket_path
from octabox.config.connection_settings import A1111Settings, ConnectionSettings
from octabox.config.sections.hub import HubSettings
from octabox.config.sections.jobs import JobSettings
from octabox.config.settings import Settings
from octabox.server import Parts

#: Seconds that responses have to end when the server is stopped.
SHUTDOWN_TIMEOUT = 5

#: Settings that concern clients and the log alone, not what a request makes.
_FRONTENDS = {
    *(name for each in (A1111Settings, ConnectionSettings, HubSettings, JobSettings) for name in each.model_fields),
    *("allow_hub", "api_keys", "keep_alive", "log_file", "log_level", "max_resident", "preload", "queue_size"),
    *("response_format", "result_ttl", "run_server"),
}


class _Server(uvicorn.Server):
    """uvicorn server that leaves signals alone: uvicorn would raise them again before everything is closed."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Do nothing."""
        yield


class SocketServer:
    """Serves an application on a Unix socket.

    Args:
        path: The socket.
        app: The application.
    """

    def __init__(self, path: Path, app: ASGIApp) -> None:
        self.path = path
        config = uvicorn.Config(
            app, lifespan="off", log_config=None, access_log=False, timeout_graceful_shutdown=SHUTDOWN_TIMEOUT
        )
        self._server, self._listener = _Server(config), socket.socket(socket.AF_UNIX)
        self._serving: asyncio.Task[None] | None = None
        self._bound: os.stat_result | None = None

    def start(self) -> asyncio.Task[None] | None:
        """Start in the running event loop, and return the task; None if another server has the socket."""
        mask = os.umask(0o177)  # This user alone can connect.
        try:
            self._listener.bind(str(self.path))
            self._bound = self.path.stat()
        except OSError:
            self._listener.close()
            return None
        finally:
            os.umask(mask)
        self._listener.listen(64)
        self._serving = asyncio.create_task(self._server.serve(sockets=[self._listener]))
        return self._serving

    def remove(self) -> None:
        """Remove the socket, so that the next client starts another server, whose socket at this path remains."""
        bound, self._bound = self._bound, None
        with contextlib.suppress(FileNotFoundError):
            if bound is not None and os.path.samestat(bound, self.path.stat()):
                self.path.unlink()

    async def stop(self) -> None:
        """Remove the socket, and wait for the end of the responses."""
        self.remove()
        if self._serving is not None:
            self._server.should_exit = True
            await asyncio.gather(self._serving, return_exceptions=True)
        self._listener.close()


def published(parts: Parts, flags: Mapping[str, Any]) -> SocketServer | None:
    """Return the server of a socket for `octabox run`, which then uses the models that a server has in memory.

    Idle servers in the background are ended, since their models may take its memory.

    Args:
        parts: The parts of the server.
        flags: Its flags on the command line.

    Returns:
        None where the settings differ from those that `octabox run` would use in this folder, or forbid it.
    """
    settings = parts.settings
    folder = runtime_folder() if settings.run_server else None
    if folder is None:
        return None
    models = flags.get("models")
    end_servers(folder)
    expected = Settings.load({"models": models})
    if any(getattr(settings, name) != getattr(expected, name) for name in Settings.model_fields.keys() - _FRONTENDS):
        return None
    app = ResidentApp(parts, settings.model_copy(update={"allow_hub": True}), starts_engine=False)
    return SocketServer(socket_path(folder, models), app.app)
