"""The HTTP server: its application, and the socket it listens on."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from importlib.metadata import PackageNotFoundError, version
from urllib.parse import urlsplit

import uvicorn
from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from starlette.exceptions import HTTPException
from starlette.responses import Response

from octabox.config.settings import Settings
from octabox.errors import ConfigError, OctaboxError
from octabox.frontends.http import errors, health
from octabox.frontends.http.context import AppContext
from octabox.frontends.http.localai import routes as localai
from octabox.frontends.http.middleware import BodyLimit, HostGuard, SafeJson, ServerErrorMiddleware
from octabox.frontends.http.native import adapters, catalog, generations
from octabox.frontends.http.openai import images, speech, videos
from octabox.frontends.http.openai import models as model_routes
from octabox.security.hosts import HostPolicy, hostname, is_loopback
from octabox.security.keys import ApiKeys

#: Starts what the application needs, and ends it.
Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]

#: Seconds that running requests are given when the server is told to stop.
SHUTDOWN_TIMEOUT = 5

#: Connections that may wait to be accepted.
BACKLOG = 2048

_CODES = {404: "not_found", 405: "method_not_allowed", 413: "request_too_large"}


def create_app(ctx: AppContext, lifespan: Lifespan) -> FastAPI:
    """Return the application.

    Args:
        ctx: The collaborators of the routes; its jobs and results are closed with the application.
        lifespan: Starts what the application needs, and stops it.
    """
    settings = ctx.settings

    @contextlib.asynccontextmanager
    async def whole(app: FastAPI) -> AsyncIterator[None]:
        async with lifespan(app):
            try:
                yield
            finally:
                await ctx.jobs.close()
                ctx.results.close()

    app = FastAPI(title="Octabox", version=_version(), lifespan=whole)
    app.include_router(health.routes(ctx))
    rooms = (model_routes, images, videos, speech, generations, catalog, adapters)
    shared = localai.image_routes(ctx)
    app.include_router(_with_keys(settings, "/v1", *(room.routes(ctx) for room in rooms), shared))
    # LocalAI's clients leave out the version, too.
    app.include_router(_with_keys(settings, "", images.routes(ctx), shared, localai.video_routes(ctx)))
    _answer_errors(app)
    # The last one added is the outermost: answers of the others need the headers that browsers ask for too.
    app.add_middleware(BodyLimit, limit=settings.max_upload_bytes)
    app.add_middleware(HostGuard, policy=host_policy(settings))
    app.add_middleware(ServerErrorMiddleware)
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(settings.cors_origins),
            allow_methods=["*"],
            allow_headers=["*"],
            expose_headers=["retry-after", *speech.HEADERS],
        )
    return app


def host_policy(settings: Settings) -> HostPolicy:
    """Return which hosts and origins the settings allow; the host of ``public_url`` is this server's too."""
    public = [hostname(urlsplit(settings.public_url).netloc)] if settings.public_url else []
    # Where nothing is named, a public server answers to every host, and naming its address is no wish to change that.
    hosts = (*settings.allowed_hosts, *public) if settings.allowed_hosts or is_loopback(settings.host) else ()
    return HostPolicy(settings.host, hosts, (*settings.cors_origins, *_origin_of(settings.public_url)))


def _origin_of(url: str | None) -> tuple[str, ...]:
    """Return the origin of a URL's pages."""
    parts = urlsplit(url or "")
    return (f"{parts.scheme}://{parts.netloc}",) if parts.netloc else ()


async def _nothing() -> None:
    """Do nothing."""


def listen(
    app: FastAPI,
    host: str,
    port: int,
    on_listening: Callable[[str], None],
    interrupt: Callable[[], Awaitable[None]] = _nothing,
) -> None:
    """Serve until told to stop.

    Args:
        app: What to serve.
        host: Address to listen on.
        port: Port to listen on; 0 takes a free one.
        on_listening: Told the server's URL once it takes requests.
        interrupt: Awaited once it is told to stop; ends what requests are waiting for, so that they are answered.

    Raises:
        ConfigError: Nothing can listen there.
    """
    listener = _listener(host, port)
    shown = f"[{host}]" if ":" in host else host
    url = f"http://{shown}:{listener.getsockname()[1]}"
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=SHUTDOWN_TIMEOUT,
    )
    server = _Server(config, lambda: on_listening(url), interrupt)
    try:
        # uvicorn sends itself the signal again once it has stopped.
        with contextlib.suppress(KeyboardInterrupt):
            server.run(sockets=[listener])
    finally:
        listener.close()
    if not server.started:
        raise OctaboxError("The server could not start.", hint="Its log says why.")


class _Server(uvicorn.Server):
    """Says when it takes requests, and lets none wait for its end."""

    def __init__(
        self, config: uvicorn.Config, on_listening: Callable[[], None], interrupt: Callable[[], Awaitable[None]]
    ) -> None:
        super().__init__(config)
        self._announce, self._interrupt = on_listening, interrupt

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and say so."""
        await super().startup(sockets)
        if self.started:
            self._announce()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop: what runs is ended first, and its requests are answered."""
        await self._interrupt()
        await super().shutdown(sockets)


def _listener(host: str, port: int) -> socket.socket:
    """Return a socket that listens."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        message = f"'{host}' is no address to listen on: {error.strerror or error}."
        raise ConfigError(message, hint="Give another with --host.", parameter="host") from error
    try:
        if os.name == "posix":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        message = f"Nothing can listen on {host}:{port}: {error.strerror or error}."
        raise ConfigError(message, hint="Give another with --port; 0 takes a free one.", parameter="port") from error
    return listener


def _with_keys(settings: Settings, prefix: str, *routers: APIRouter) -> APIRouter:
    """Return these routes behind the API keys, each below a prefix."""
    keys = ApiKeys(key.get_secret_value() for key in settings.api_keys)

    async def check(request: Request) -> None:
        keys.check(request.headers.get("authorization"))

    guarded = APIRouter(prefix=prefix, dependencies=[Depends(check)])
    for router in routers:
        guarded.include_router(router)
    return guarded


def _answer_errors(app: FastAPI) -> None:
    """Answer every error in OpenAI's shape."""

    @app.exception_handler(OctaboxError)
    async def _(_: Request, error: OctaboxError) -> Response:
        return SafeJson(errors.body(error), errors.http_error(error).status, errors.headers(error))

    @app.exception_handler(RequestValidationError)
    async def _(_: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        field = str(first["loc"][-1])
        body = errors.plain_body(f"'{field}': {first['msg']}.", "invalid_request_error", "invalid_value")
        body["error"]["param"] = field
        return SafeJson(body, 400)

    @app.exception_handler(HTTPException)
    async def _(request: Request, error: HTTPException) -> Response:
        message = str(error.detail)
        if error.status_code in (404, 405):
            message = f"There is no {request.method} {request.url.path}."
        code = _CODES.get(error.status_code, "invalid_request")
        body = errors.plain_body(message, "invalid_request_error", code)
        return SafeJson(body, error.status_code, error.headers)


def _version() -> str:
    try:
        return version("octabox")
    except PackageNotFoundError:
        return "0"
