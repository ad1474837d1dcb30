"""The end of a server: what its clients are sent, and how long it takes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable
from typing import Any

import httpx
import pytest

from fakes import Server
from octabox.errors import ServerStoppingError
from octabox.frontends.http.network import lifecycle

STOPPING = (503, "server_stopping")


@pytest.fixture(autouse=True)
def grace(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give requests little time."""
    monkeypatch.setattr(lifecycle, "SHUTDOWN_TIMEOUT", 0.2)


async def nothing() -> None:
    """End no calls."""


def verdict(answer: httpx.Response) -> tuple[int, str]:
    """Return the status and the code of an error, which has a time to come back in."""
    assert int(answer.headers["retry-after"]) >= 1
    return answer.status_code, answer.json()["error"]["code"]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/images/generations", {"prompt": "x", "model": "demo"}),
        ("/v1/generations", {"params": {"prompt": "x"}, "model": "demo"}),
    ],
)
@pytest.mark.parametrize("typed", [True, False], ids=["the engine ends its call", "nothing ends it"])
async def test_a_request_that_runs_ends_with_a_typed_error(
    path: str, body: dict[str, Any], caplog: pytest.LogCaptureFixture, *, typed: bool
) -> None:
    """Whether the engine ends its call or it has to be cancelled, its client is sent 503 with a time, without a traceback."""
    server = Server()
    server.generations.hang = not typed
    release = asyncio.Event()
    if typed:
        server.generations.late, server.generations.pause = ServerStoppingError("The server is being stopped."), 0.05

    async def end() -> None:
        release.set()

    caplog.set_level(logging.INFO)
    running = asyncio.create_task(server.http.post(path, json=body))
    await server.generations.begun.wait()
    await asyncio.wait_for(server.app.state.lifecycle.stop(end), 5)

    assert release.is_set()
    assert STOPPING == verdict(await running)
    assert "Traceback" not in caplog.text
    assert "1 requests are ended" in caplog.text


async def test_a_request_whose_body_does_not_end_is_ended() -> None:
    """What no engine knows of ends, too."""
    server = Server()
    started = asyncio.Event()

    async def body() -> Any:
        yield b"{"
        started.set()
        await asyncio.sleep(60)

    running: Awaitable[httpx.Response] = asyncio.create_task(
        server.http.post("/v1/images/generations", content=body(), headers={"content-type": "application/json"})
    )
    await started.wait()
    await asyncio.wait_for(server.app.state.lifecycle.stop(nothing), 5)

    assert STOPPING == verdict(await running)


async def test_a_stopping_server_accepts_nothing_and_reports_it() -> None:
    """New requests are refused whatever they are; readiness reports it, and health and metrics are still served."""
    server = Server()
    await server.app.state.lifecycle.stop(nothing)
    refused = [await server.http.get("/v1/models"), await server.generate(prompt="x"), await server.http.get("/none")]
    ready, healthy = await server.http.get("/readyz"), await server.http.get("/healthz")

    assert [STOPPING] * 3 == [verdict(answer) for answer in refused]
    assert (503, "stopping") == (ready.status_code, ready.json()["status"])
    assert 200 == healthy.status_code
    assert [] == server.generations.requests


async def test_an_engine_that_does_not_end_holds_up_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The wait for the engine has a limit."""
    monkeypatch.setattr(lifecycle, "ENGINE_TIMEOUT", 0.05)

    await asyncio.wait_for(Server().app.state.lifecycle.stop(lambda: asyncio.sleep(60)), 5)


async def test_a_cancelled_request_of_a_server_that_runs_is_cancelled() -> None:
    """Only the end of the server is answered."""
    server = Server()
    server.generations.hang = True
    running = asyncio.create_task(server.generate(prompt="x"))
    await server.generations.begun.wait()
    running.cancel()

    with pytest.raises(asyncio.CancelledError):
        await running
