"""Listen for gRPC calls of LocalAI's core."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Awaitable, Callable
from typing import Any

import grpc

from octabox.errors import AuthenticationError, ConfigError
from octabox.frontends.grpc.localai import contract, parent
from octabox.frontends.grpc.localai.environment import Environment
from octabox.frontends.grpc.localai.servicer import Servicer
from octabox.security.keys import ApiKeys

#: Seconds that running calls have to end when the backend is stopped.
SHUTDOWN_TIMEOUT = 1.0

_OPTIONS = (
    ("grpc.max_send_message_length", contract.MAX_BYTES),
    ("grpc.max_receive_message_length", contract.MAX_BYTES),
    # With reuse, two backends could listen on the same port and each receive a part of the calls.
    ("grpc.so_reuseport", 0),
)


def create_server(servicer: Servicer, token: str = "") -> grpc.aio.Server:
    """Return a server with the contract's methods.

    Args:
        servicer: Handles the calls.
        token: Token that each call must have; empty for none.
    """
    server = grpc.aio.server(interceptors=[_TokenCheck(token)] if token else [], options=_OPTIONS)
    handlers = {
        name: grpc.unary_unary_rpc_method_handler(
            getattr(servicer, name), request_deserializer=request.FromString, response_serializer=_serialize
        )
        for name, (request, _) in contract.methods().items()
    }
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(contract.SERVICE, handlers)])
    return server


async def serve(
    servicer: Servicer,
    address: str,
    environment: Environment,
    on_listening: Callable[[str], None],
    interrupt: Callable[[], Awaitable[None]],
) -> int:
    """Serve until the process receives a signal to stop; return the exit code.

    Args:
        servicer: Handles the calls.
        address: ``host:port``; port 0 selects a free one.
        environment: LocalAI's variables.
        on_listening: Called with the address once the server listens.
        interrupt: Awaited when the server stops. It ends what calls wait for, so that each gets a response.

    Raises:
        ConfigError: The address cannot be listened on.
    """
    server = create_server(servicer, environment.token)
    host = address.rpartition(":")[0]
    try:
        port = server.add_insecure_port(address)
    except RuntimeError:
        port = 0
    if not host or not port:
        message = f"'{address}' cannot be listened on."
        raise ConfigError(message, hint="Set --addr HOST:PORT with a free port.", parameter="addr")
    stop, orphaned = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def on_parent_exit() -> None:
        with contextlib.suppress(RuntimeError):  # The event loop is closed.
            loop.call_soon_threadsafe(orphaned.set)
            loop.call_soon_threadsafe(stop.set)

    for number in (signal.SIGTERM, signal.SIGINT):
        with contextlib.suppress(NotImplementedError):  # Without support in the event loop, signals end the process.
            loop.add_signal_handler(number, stop.set)
    await server.start()
    if environment.localai_backend_parent_watch:
        parent.watch(environment.localai_backend_parent_watch_interval, on_parent_exit)
    on_listening(f"{host}:{port}")
    await stop.wait()
    # No call is accepted from now on; those that wait or run end with a status.
    await asyncio.gather(server.stop(SHUTDOWN_TIMEOUT), interrupt())
    return parent.EXIT_CODE if orphaned.is_set() else 0


def _serialize(message: contract.Message) -> bytes:
    """Return the bytes of a message."""
    content: bytes = message.SerializeToString()
    return content


class _TokenCheck(grpc.aio.ServerInterceptor):  # type: ignore[misc] # grpc has no types
    """Rejects calls without the token."""

    def __init__(self, token: str) -> None:
        self._keys = ApiKeys([token])

    async def intercept_service(self, continuation: Callable[[Any], Awaitable[Any]], handler_call_details: Any) -> Any:
        """Return the handler of the method, or one that rejects the call."""
        metadata = dict(handler_call_details.invocation_metadata or ())
        try:
            self._keys.check(metadata.get("authorization"))
        except AuthenticationError:
            return grpc.unary_unary_rpc_method_handler(_reject)
        return await continuation(handler_call_details)


async def _reject(request: Any, context: Any) -> None:  # noqa: ARG001 (grpc's signature)
    """End a call with the status for a missing token."""
    await context.abort(grpc.StatusCode.UNAUTHENTICATED, "invalid token")
