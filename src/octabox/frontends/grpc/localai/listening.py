"""Listen for LocalAI's core."""

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

#: Where LocalAI's own backends listen where nothing else is said.
ADDRESS = "localhost:50051"

#: Seconds that calls have to end once the backend is told to stop.
SHUTDOWN_TIMEOUT = 1.0

_OPTIONS = (
    ("grpc.max_send_message_length", contract.MAX_BYTES),
    ("grpc.max_receive_message_length", contract.MAX_BYTES),
    # Two backends on one port would each get some of the calls.
    ("grpc.so_reuseport", 0),
)


def create_server(servicer: Servicer, token: str = "") -> grpc.aio.Server:
    """Return a server of the contract's methods.

    Args:
        servicer: Answers the calls.
        token: What every call must bring; empty: all may call.
    """
    server = grpc.aio.server(interceptors=[_TokenCheck(token)] if token else [], options=_OPTIONS)
    handlers = {
        name: grpc.unary_unary_rpc_method_handler(
            getattr(servicer, name), request_deserializer=asked.FromString, response_serializer=_serialized
        )
        for name, (asked, _) in contract.methods().items()
    }
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(contract.SERVICE, handlers)])
    return server


async def serve(
    servicer: Servicer,
    address: str,
    environment: Environment,
    on_listening: Callable[[str], None],
) -> int:
    """Serve until told to stop; return the exit code.

    Args:
        servicer: Answers the calls.
        address: ``host:port``; port 0 takes a free one.
        environment: LocalAI's variables.
        on_listening: Called with the address once it is listened on.

    Raises:
        ConfigError: Nothing can listen there.
    """
    server = create_server(servicer, environment.token)
    host = address.rpartition(":")[0]
    try:
        port = server.add_insecure_port(address)
    except RuntimeError:
        port = 0
    if not host or not port:
        message = f"Nothing can listen on '{address}'."
        raise ConfigError(message, hint="Give --addr HOST:PORT with a port that is free.", parameter="addr")
    stop, orphaned = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def parent_ended() -> None:
        with contextlib.suppress(RuntimeError):  # The loop has ended already.
            loop.call_soon_threadsafe(orphaned.set)
            loop.call_soon_threadsafe(stop.set)

    for number in (signal.SIGTERM, signal.SIGINT):
        with contextlib.suppress(NotImplementedError):  # Where the loop knows no signals, they end the process.
            loop.add_signal_handler(number, stop.set)
    await server.start()
    if environment.localai_backend_parent_watch:
        parent.watch(environment.localai_backend_parent_watch_interval, parent_ended)
    on_listening(f"{host}:{port}")
    await stop.wait()
    await server.stop(SHUTDOWN_TIMEOUT)
    return parent.EXIT_CODE if orphaned.is_set() else 0


def _serialized(message: contract.Message) -> bytes:
    content: bytes = message.SerializeToString()
    return content


class _TokenCheck(grpc.aio.ServerInterceptor):  # type: ignore[misc] # grpc has no types
    """Refuses calls that do not bring the token, whatever they are for."""

    def __init__(self, token: str) -> None:
        self._keys = ApiKeys([token])

    async def intercept_service(self, continuation: Callable[[Any], Awaitable[Any]], handler_call_details: Any) -> Any:
        """Return the method's own handler, or one that refuses."""
        metadata = dict(handler_call_details.invocation_metadata or ())
        try:
            self._keys.check(metadata.get("authorization"))
        except AuthenticationError:
            return grpc.unary_unary_rpc_method_handler(_refuse)
        return await continuation(handler_call_details)


async def _refuse(request: Any, context: Any) -> None:  # noqa: ARG001 (grpc's signature)
    await context.abort(grpc.StatusCode.UNAUTHENTICATED, "invalid token")
