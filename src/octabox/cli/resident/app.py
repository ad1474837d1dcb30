"""HTTP application of the server in the background, on a socket that its user alone can connect to."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import AsyncGenerator, Callable, Iterator

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from octabox.cli.requests.events import RunEvent
from octabox.cli.requests.execution import execute
from octabox.cli.resident.codec import decode_options, encode_error, encode_event
from octabox.config.model import ModelConfig
from octabox.config.settings import Settings
from octabox.errors import ModelNotFoundError, OctaboxError, ServerStoppingError
from octabox.frontends.http.openai.models import describe, unconfigured
from octabox.frontends.http.sse import EventStream
from octabox.server import Parts, build
from octabox.telemetry.request_line import describe_generation
from octabox.types import Generation

logger = logging.getLogger("octabox.run")

#: Seconds that a request has to end by itself when the server is stopped.
REQUEST_TIMEOUT = 0.3


class ResidentApp:
    """Runs the requests of `octabox run` with one engine.

    Args:
        parts: The parts of the server, whose engine is used.
        settings: Settings of the requests.
        stop: Called to stop the server; None for one that its user has started in a terminal.
        starts_engine: Whether the engine is started before the first request.
        owned: Whether it belongs to a program, which may use it again however long it is idle.
    """

    def __init__(
        self,
        parts: Parts,
        settings: Settings,
        stop: Callable[[], None] | None = None,
        *,
        starts_engine: bool = True,
        owned: bool = False,
    ) -> None:
        self._parts, self._settings, self._stop = parts, settings, stop
        self._running, self._last_use = 0, time.monotonic()
        self._starting = asyncio.Lock()
        self._started, self._owned = not starts_engine, owned
        #: Set when requests that do not reach the engine are to end.
        self.stopping = asyncio.Event()
        routes = [
            Route("/run", self._run, methods=["POST"]),
            Route("/stop", self._handle_stop, methods=["POST"]),
            Route("/v1/models", self._models),
            Route("/v1/models/{name:path}/unload", self._unload, methods=["POST"]),
        ]
        self.app = Starlette(routes=routes)

    @property
    def idle_seconds(self) -> float:
        """Seconds since the last request; 0 while one runs."""
        return 0.0 if self._running else time.monotonic() - self._last_use

    @contextlib.contextmanager
    def busy(self) -> Iterator[None]:
        """Count a request within the context."""
        self._running += 1
        try:
            yield
        finally:
            self._running -= 1
            self._last_use = time.monotonic()

    async def _run(self, request: Request) -> Response:
        """Run the options of a command line, and respond with its events as they come."""
        with self.busy():
            options = decode_options(await request.body())
        events = execute(options, self._settings, self._open, self._start_engine)
        return _RunResponse(self, events)

    async def _handle_stop(self, request: Request) -> Response:
        """Stop the server, with its requests unless it is to stop only if nobody needs it."""
        needed = request.query_params.get("only_idle") and (self._owned or self._running)
        stops = self._stop is not None and not needed
        if self._stop is not None and stops:
            self._stop()
        return JSONResponse({"pid": os.getpid(), "stopping": stops})

    async def _models(self, _: Request) -> Response:
        """List the models in memory."""
        return JSONResponse(
            {"data": [describe(unconfigured(status), status) for status in self._parts.models.status()]}
        )

    async def _unload(self, request: Request) -> Response:
        """Unload a model from memory; one that this server does not know is not there. A server in a terminal keeps its own."""
        unloaded = False
        with self.busy(), contextlib.suppress(ModelNotFoundError):
            unloaded = self._stop is not None and await self._parts.models.unload(request.path_params["name"])
        return JSONResponse({"unloaded": unloaded})

    def _open(self, settings: Settings, model: str) -> Parts:
        """Return parts with a model and the settings of a request, and with the engine of this server."""
        return build(settings, model=model, base=self._parts)

    async def _start_engine(self, parts: Parts, config: ModelConfig) -> None:
        """Start the engine before its first request, whose model's classes are imported ahead."""
        async with self._starting:
            if not self._started:
                await parts.engine.start([config])
                self._started = True


class _RunResponse(EventStream):
    """Response with a line for each event, and a last line of an error or the end.

    Args:
        server: The server.
        events: The events. They are closed if the client disconnects.
    """

    media_type = "application/x-ndjson"

    def __init__(self, server: ResidentApp, events: AsyncGenerator[RunEvent, None]) -> None:
        super().__init__(_lines(_until(events, server.stopping)), events)
        self._server = server

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the lines."""
        with self._server.busy():
            await super().__call__(scope, receive, send)


async def _until(events: AsyncGenerator[RunEvent, None], stopping: asyncio.Event) -> AsyncGenerator[RunEvent, None]:
    """Yield events until the server stops.

    Raises:
        ServerStoppingError: A request has not ended soon after that, such as one that waits for a thread.
    """
    stopped = asyncio.ensure_future(stopping.wait())
    try:
        while True:
            following = asyncio.ensure_future(anext(events, None))
            try:
                await asyncio.wait({following, stopped}, return_when=asyncio.FIRST_COMPLETED)
                # The engine, which is closed, ends those that it has with a more exact error.
                if not following.done() and not (await asyncio.wait({following}, timeout=REQUEST_TIMEOUT))[0]:
                    raise ServerStoppingError(hint="Repeat the command.")
            finally:
                following.cancel()
            if (event := following.result()) is None:
                return
            yield event
    finally:
        stopped.cancel()


async def _lines(events: AsyncGenerator[RunEvent, None]) -> AsyncGenerator[str, None]:
    """Yield the lines of a response."""
    try:
        async for event in events:
            if isinstance(event, Generation):
                logger.info("%s", describe_generation(event))
            yield encode_event(event)
    except OctaboxError as error:
        logger.info("%s", error)
        yield encode_error(error)
    except Exception as error:
        logger.exception("A request has failed")
        hint = "The log of the server has the traceback; `octabox run --local` shows it too."
        yield encode_error(OctaboxError(f"Internal error: {type(error).__name__}: {error}.", hint=hint))
    yield "end\n"
