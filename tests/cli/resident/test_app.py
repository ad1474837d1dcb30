"""The application of the server in the background, over a request that is scripted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from octabox.cli.requests.events import Message, Prepared, RunEvent
from octabox.cli.requests.run_options import RunOptions
from octabox.cli.resident import app as resident_app
from octabox.cli.resident.codec import decode_event, encode_options
from octabox.errors import ModelNotFoundError, ServerStoppingError
from octabox.types import ModelStatus


@pytest.fixture
def stops() -> list[str]:
    """Return the stops of the server."""
    return []


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch, stops: list[str]) -> httpx.AsyncClient:
    """Return a client of a server whose requests yield two events, and fail for an unknown model."""

    async def execute(options: RunOptions, *_: Any) -> AsyncGenerator[RunEvent, None]:
        yield Message("Hello.")
        if options.model == "broken":
            raise ValueError("a fault")
        if options.model != "demo":
            raise ModelNotFoundError(f"There is no model '{options.model}'.")
        yield Prepared(1)

    monkeypatch.setattr(resident_app, "execute", execute)
    status = ModelStatus("demo", "ready", "Some")

    async def unload(name: str) -> bool:
        if name == "nosuch":
            raise ModelNotFoundError("There is no model 'nosuch'.")
        return name == "ORG/demo"

    parts: Any = SimpleNamespace(models=SimpleNamespace(status=lambda: [status], unload=unload))
    settings: Any = None
    app = resident_app.ResidentApp(parts, settings, lambda: stops.append("stop"))
    return httpx.AsyncClient(transport=httpx.ASGITransport(app.app), base_url="http://localhost")


async def lines(client: httpx.AsyncClient, model: str) -> list[bytes]:
    """Return the lines of a response."""
    response = await client.post("/run", content=encode_options(RunOptions(model)))
    return response.content.splitlines()


async def test_events_are_lines(client: httpx.AsyncClient) -> None:
    """And the last line is the end."""
    *events, end = await lines(client, "demo")

    assert [Message("Hello."), Prepared(1)] == [decode_event(each) for each in events]
    assert b"end" == end


async def test_an_error_is_a_line(client: httpx.AsyncClient) -> None:
    """That of a request, and one that nobody expects."""
    with pytest.raises(ModelNotFoundError, match="no model 'other'"):
        decode_event((await lines(client, "other"))[1])
    with pytest.raises(Exception, match="Internal error: ValueError: a fault"):
        decode_event((await lines(client, "broken"))[1])


async def test_the_server_lists_its_models_and_stops(client: httpx.AsyncClient, stops: list[str]) -> None:
    """When it is idle."""
    models = (await client.get("/v1/models")).json()["data"]
    stopped = (await client.post("/stop?only_idle=1")).json()

    assert [("demo", "ready")] == [(each["id"], each["status"]["state"]) for each in models]
    assert (True, ["stop"]) == (stopped["stopping"], stops)


async def test_a_model_is_unloaded(client: httpx.AsyncClient) -> None:
    """By its name, which may be a Hub id; one that is not in memory or unknown is not."""
    names = ("ORG/demo", "other", "nosuch")
    responses = [await client.post(f"/v1/models/{name}/unload") for name in names]

    assert [True, False, False] == [each.json()["unloaded"] for each in responses]


async def test_the_server_of_a_program_is_not_idle(stops: list[str]) -> None:
    """It is stopped only by a request that does not ask whether it is."""
    parts: Any = None
    app = resident_app.ResidentApp(parts, parts, lambda: stops.append("stop"), owned=True)
    client = httpx.AsyncClient(transport=httpx.ASGITransport(app.app), base_url="http://localhost")
    stopping = [(await client.post(route)).json()["stopping"] for route in ("/stop?only_idle=1", "/stop")]

    assert ([False, True], ["stop"]) == (stopping, stops)


async def test_a_request_that_waits_ends_with_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as one whose thread reads the source of diffusers; its client receives an error that says why."""
    released = asyncio.Event()

    async def execute(*_: Any) -> AsyncGenerator[RunEvent, None]:
        yield Message("Hello.")
        await released.wait()

    monkeypatch.setattr(resident_app, "execute", execute)
    settings: Any = None
    parts: Any = None
    app = resident_app.ResidentApp(parts, settings)
    client = httpx.AsyncClient(transport=httpx.ASGITransport(app.app), base_url="http://localhost")
    request = asyncio.create_task(lines(client, "demo"))
    await asyncio.sleep(0)
    app.stopping.set()

    hello, error, end = await asyncio.wait_for(request, 10)

    assert (Message("Hello."), b"end") == (decode_event(hello), end)
    with pytest.raises(ServerStoppingError, match="being stopped"):
        decode_event(error)
