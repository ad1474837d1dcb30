"""The HTTP application."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from huggingface_hub import constants
from starlette.exceptions import HTTPException
from starlette.responses import Response

from octabox.config.settings import Settings
from octabox.errors import ConfigError, MissingDependencyError, OctaboxError
from octabox.frontends.http import errors, health
from octabox.frontends.http.a1111 import routes as a1111
from octabox.frontends.http.a1111.access import Check, credentials_check
from octabox.frontends.http.background import POLL_AFTER
from octabox.frontends.http.context import AppContext
from octabox.frontends.http.hub import routes as hub
from octabox.frontends.http.huggingface import responses as huggingface_responses
from octabox.frontends.http.huggingface import routes as huggingface
from octabox.frontends.http.localai import routes as localai
from octabox.frontends.http.middleware import (
    BodyLimit,
    BodyTimeout,
    HeadRequests,
    HostGuard,
    SafeJson,
    ServerErrorMiddleware,
)
from octabox.frontends.http.native import adapters, catalog, metadata
from octabox.frontends.http.native.generations import routes as generations
from octabox.frontends.http.native.jobs import routes as jobs
from octabox.frontends.http.network.forwarded import ForwardedHeaders
from octabox.frontends.http.network.lifecycle import StopGate
from octabox.frontends.http.openai import models as openai_models
from octabox.frontends.http.openai.images import routes as images
from octabox.frontends.http.openai.speech import routes as speech
from octabox.frontends.http.openai.videos import routes as videos
from octabox.frontends.http.responses import MEDIA_HEADERS
from octabox.frontends.http.system import routes as system
from octabox.frontends.http.ui.routes import add_page
from octabox.security.clients import client_name, current_client, visible_client
from octabox.security.hosts import HostPolicy, hostname, is_loopback
from octabox.security.keys import ApiKeys
from octabox.security.private_folders import private_folders
from octabox.telemetry.installation import package_version

#: Starts what the application needs, and stops it.
Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]


def _key_check(settings: Settings) -> Check:
    """Return the check for an API key, if the server has some; an admin key is one too."""
    return ApiKeys(key.get_secret_value() for key in settings.accepted_keys).check


@dataclass(frozen=True)
class RouteModule:
    """Routes of a protocol.

    Args:
        protocol: Name of the protocol.
        routes: Builds the routes.
        prefixes: Prefixes that the routes are served under.
        credentials: Returns the check of the ``Authorization`` header.
        setting: Setting that includes the routes; None if they are always served.
    """

    protocol: str
    routes: Callable[[AppContext], APIRouter]
    prefixes: tuple[str, ...] = ("/v1",)
    credentials: Callable[[Settings], Check] = _key_check
    setting: str | None = None


#: All route modules. Some of LocalAI's clients omit the version.
ROUTE_MODULES = (
    RouteModule("openai", openai_models.routes),
    RouteModule("openai", images.routes),
    RouteModule("openai", videos.routes),
    RouteModule("openai", speech.routes),
    RouteModule("native", generations.routes),
    RouteModule("native", jobs.routes),
    RouteModule("native", catalog.routes),
    RouteModule("native", adapters.routes),
    RouteModule("native", metadata.routes),
    RouteModule("hub", hub.routes),
    RouteModule("system", system.routes),
    RouteModule("localai", images.routes, ("",)),
    RouteModule("localai", localai.image_routes, ("/v1", "")),
    RouteModule("localai", localai.video_routes, ("",)),
    RouteModule("huggingface", huggingface.routes, ("",)),
    RouteModule("a1111", a1111.routes, ("",), credentials_check, "a1111"),
)

#: Headers of responses that pages of other sites may read.
EXPOSED_HEADERS = (
    *("retry-after", "x-should-retry", "location", POLL_AFTER),
    *(*MEDIA_HEADERS, *huggingface_responses.HEADERS),
)

#: Seconds between two checks for expired results.
EXPIRY_INTERVAL = 30

#: Seconds after which the store of background jobs is opened, if no request has been answered.
OPEN_DELAY = 2.0

#: Seconds between the attempts to open it; the last one is repeated.
OPEN_DELAYS = (1.0, 2.0, 5.0, 15.0, 60.0)

logger = logging.getLogger("octabox.http")


def create_app(ctx: AppContext, lifespan: Lifespan, route_modules: Sequence[RouteModule] = ROUTE_MODULES) -> FastAPI:
    """Return the application.

    Args:
        ctx: Collaborators of the routes. Its jobs and results are closed with the application.
        lifespan: Starts what the application needs, and stops it.
        route_modules: Routes to serve besides those for health and results.
    """

    @contextlib.asynccontextmanager
    async def run(app: FastAPI) -> AsyncIterator[None]:
        async with lifespan(app):
            tasks = [asyncio.create_task(work(ctx)) for work in (_delete_expired, _open_queue)]
            try:
                yield
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                await ctx.queue.close()
                await ctx.jobs.close()
                ctx.results.close()

    app = FastAPI(title="Octabox", version=package_version("octabox") or "0", lifespan=run)
    app.state.lifecycle = ctx.lifecycle
    app.include_router(health.routes(ctx))
    _add_routes(app, ctx, route_modules)
    if ctx.settings.ui:
        add_page(app)
    _add_error_handlers(app)
    _add_middleware(app, ctx)
    return app


async def _delete_expired(ctx: AppContext) -> None:
    """Delete jobs and results regularly, since they may be large and nothing may ask for them again."""
    while True:
        await asyncio.sleep(min(ctx.settings.result_ttl, EXPIRY_INTERVAL))
        with _log_failures():
            ctx.jobs.delete_expired()
        with _log_failures():
            await ctx.queue.results.delete_expired()
        with _log_failures():
            await asyncio.to_thread(ctx.results.expire)


@contextlib.contextmanager
def _log_failures() -> Iterator[None]:
    """Log why expired results could not be deleted, so that others are, and these the next time."""
    try:
        yield
    except OctaboxError as error:
        logger.warning("Expired results are not deleted now: %s", error)
    except Exception:
        logger.exception("Expired results could not be deleted")


async def _open_queue(ctx: AppContext) -> None:
    """Open the store of background jobs after the first response: its library takes time, for which no client waits.

    It is tried again where it fails, since jobs and webhooks may wait in a store that starts later than the server.
    """
    with contextlib.suppress(asyncio.TimeoutError):
        await asyncio.wait_for(ctx.lifecycle.answered.wait(), OPEN_DELAY)
    delays, reported = iter(OPEN_DELAYS), ""
    while True:
        try:
            await ctx.queue.open()
        except OctaboxError as error:
            # Requests that need the store receive the same error.
            level, reported = logging.DEBUG if reported == str(error) else logging.ERROR, str(error)
            logger.log(level, "Background jobs are not available: %s", error)
            if isinstance(error, ConfigError | MissingDependencyError):  # The same until the server is started again.
                return
        except Exception:
            logger.exception("Background jobs are not available")
        else:
            return
        await asyncio.sleep(next(delays, OPEN_DELAYS[-1]))


def _add_routes(app: FastAPI, ctx: AppContext, route_modules: Sequence[RouteModule]) -> None:
    """Add the routes of all modules, which require credentials if the server has some.

    They are added to the application itself: FastAPI analyzes each function again for each router that includes another.
    """
    for module in route_modules:
        if module.setting is None or getattr(ctx.settings, module.setting):
            credentials = Depends(_authorization(module.credentials(ctx.settings), ctx.settings))
            routes = module.routes(ctx)
            for prefix in module.prefixes:
                app.include_router(routes, prefix=prefix, dependencies=[credentials])


def _authorization(check: Check, settings: Settings) -> Callable[[Request], Awaitable[None]]:
    """Return the dependency that checks the credentials of a request; an API key sees its own jobs, an admin key all."""
    admins = {client_name(f"Bearer {key.get_secret_value()}") for key in settings.admin_keys}

    async def authorize(request: Request) -> None:
        credentials = check(request.headers.get("authorization"))
        # A header that nothing checks names no client: each request could have another one.
        if credentials is not None:
            current_client.set(client_name(credentials))
        client = current_client.get()
        visible_client.set(client if settings.accepted_keys and client not in admins else None)

    return authorize


def _add_middleware(app: FastAPI, ctx: AppContext) -> None:
    """Add the middleware; the last one added is the outermost."""
    settings = ctx.settings
    app.add_middleware(BodyTimeout, seconds=settings.body_timeout)
    app.add_middleware(BodyLimit, limit=settings.max_upload_bytes)
    app.add_middleware(HostGuard, policy=host_policy(settings), folders=_folders_of(settings))
    app.add_middleware(ForwardedHeaders, trusted=settings.trusted_proxies)
    app.add_middleware(HeadRequests)
    app.add_middleware(ServerErrorMiddleware)
    app.add_middleware(StopGate, lifecycle=ctx.lifecycle)
    if settings.cors_origins:
        # Responses of the other middleware need the CORS headers too.
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(settings.cors_origins),
            allow_methods=["*"],
            allow_headers=["*"],
            # A page of the internet may call a server of the user's own network, which browsers ask for in addition.
            allow_private_network=True,
            expose_headers=EXPOSED_HEADERS,
        )


def _folders_of(settings: Settings) -> tuple[str, ...]:
    """Return the folders that errors do not name."""
    own = (settings.models, settings.lora_folder, settings.embedding_folder, settings.cache_dir, settings.data_dir)
    return private_folders((*own, Path(constants.HF_HUB_CACHE)))


def host_policy(settings: Settings) -> HostPolicy:
    """Return the allowed hosts and origins; those of ``public_url`` are allowed too."""
    public = [hostname(urlsplit(settings.public_url).netloc)] if settings.public_url else []
    # A public server without `allowed_hosts` accepts every host; `public_url` alone does not restrict it.
    hosts = (*settings.allowed_hosts, *public) if settings.allowed_hosts or is_loopback(settings.host) else ()
    return HostPolicy(settings.host, hosts, (*settings.cors_origins, *_origin_of(settings.public_url)))


def _origin_of(url: str | None) -> tuple[str, ...]:
    """Return the origin of a URL; nothing if there is no URL."""
    parts = urlsplit(url or "")
    return (f"{parts.scheme}://{parts.netloc}",) if parts.netloc else ()


def _add_error_handlers(app: FastAPI) -> None:
    """Respond to every error in OpenAI's format."""

    @app.exception_handler(OctaboxError)
    async def _(_: Request, error: OctaboxError) -> Response:
        return SafeJson(errors.error_body(error), errors.http_error(error).status, errors.error_headers(error))

    @app.exception_handler(RequestValidationError)
    async def _(_: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        field = str(first["loc"][-1])
        message = f"'{field}': {first['msg']}."
        return SafeJson(errors.build_error_body(message, "invalid_request_error", "invalid_value", field), 400)

    @app.exception_handler(HTTPException)
    async def _(request: Request, error: HTTPException) -> Response:
        message = str(error.detail)
        if error.status_code in (404, 405):
            message = f"There is no route {request.method} {request.url.path}."
        body = errors.build_error_body(message, "invalid_request_error", errors.status_code(error.status_code))
        return SafeJson(body, error.status_code, error.headers)
