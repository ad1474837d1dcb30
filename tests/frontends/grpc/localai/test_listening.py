"""The end of a backend: what its callers are sent."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import Any

import grpc
import pytest

from octabox.errors import ServerStoppingError
from octabox.frontends.grpc.localai.environment import Environment
from octabox.frontends.grpc.localai.listening import serve
from octabox.frontends.grpc.localai.servicer import _respond as respond


class WaitingServicer:
    """Each call waits until the engine is closed, which fails it."""

    def __init__(self) -> None:
        self.begun, self.closed = asyncio.Event(), asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        """Return a method of the contract."""
        return self._call

    async def close(self) -> None:
        """Fail the calls."""
        self.closed.set()

    async def _call(self, request: Any, context: Any) -> Any:
        async def work() -> str:
            self.begun.set()
            await self.closed.wait()
            raise ServerStoppingError("The server is being stopped.")

        return await respond(context, work())


async def test_a_call_that_runs_ends_as_unavailable() -> None:
    """A backend that is told to stop ends its calls with a status that a client may retry, and ends itself."""
    servicer: Any = WaitingServicer()
    addresses: asyncio.Queue[str] = asyncio.Queue()
    environment = Environment.model_construct(localai_backend_parent_watch=False)
    serving = asyncio.create_task(
        serve(servicer, "127.0.0.1:0", environment, addresses.put_nowait, servicer.close), name="backend"
    )
    try:
        options = [("grpc.enable_http_proxy", 0)]
        async with grpc.aio.insecure_channel(await addresses.get(), options=options) as channel:
            calling = asyncio.ensure_future(channel.unary_unary("/backend.Backend/GenerateImage")(b"", timeout=20))
            await asyncio.wait_for(servicer.begun.wait(), 10)
            os.kill(os.getpid(), signal.SIGTERM)
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await calling
            assert 0 == await asyncio.wait_for(serving, 10)
    finally:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)

    assert grpc.StatusCode.UNAVAILABLE == caught.value.code()
