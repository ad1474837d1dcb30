"""Middleware of all routes."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from starlette.exceptions import HTTPException
from starlette.requests import Request

from fakes import Server
from octabox.frontends.http import middleware
from octabox.frontends.http.middleware import BodyTimeout

#: What the kubelet sends to a pod: its address and the port of the container.
POD = {"host": "10.1.2.3:8080"}


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
async def test_probes_of_kubernetes_need_no_name(method: str, path: str) -> None:
    """They call the address of the pod, which nobody knows when `allowed_hosts` is set."""
    http = Server(host="0.0.0.0", allowed_hosts="images.example.org").http

    assert 200 == (await http.request(method, path, headers=POD)).status_code


async def test_only_probes_may_use_an_address_as_name() -> None:
    """Other routes and methods need one of the names, and so do probes from pages of other sites."""
    http = Server(host="0.0.0.0", allowed_hosts="images.example.org").http

    async def status(method: str, path: str, headers: dict[str, str]) -> int:
        response: httpx.Response = await http.request(method, path, headers=headers)
        return response.status_code

    assert 403 == await status("GET", "/v1/models", POD)
    assert 403 == await status("POST", "/healthz", POD)
    assert 403 == await status("GET", "/readyz", {"host": "evil.example"})
    assert 403 == await status("GET", "/readyz", {**POD, "origin": "http://evil.example"})


async def send(message: Any) -> None:
    """Take what an application sends."""


async def read(pieces: list[bytes], pause: float, *, end: bool = False, seconds: float = 0.2) -> bytes:
    """Return the body that an application reads of a client that sends a piece after each pause."""
    remaining = list(pieces)
    bodies: list[bytes] = []

    async def receive() -> Any:
        await asyncio.sleep(pause if remaining or end else 60)
        piece = remaining.pop(0)
        return {"type": "http.request", "body": piece, "more_body": bool(remaining) or not end}

    async def app(scope: Any, receive: Any, send: Any) -> None:
        bodies.append(await Request(scope, receive).body())

    scope = {"type": "http", "headers": [], "method": "POST", "path": "/"}
    await asyncio.wait_for(BodyTimeout(app, seconds)(scope, receive, send), 5)
    return bodies[0]


@pytest.mark.parametrize("pieces", [[], [b"x"], [b"x"] * 100])
async def test_a_body_that_does_not_end_is_refused(pieces: list[bytes]) -> None:
    """Neither a body without an end nor one that comes byte by byte holds a connection for long."""
    with pytest.raises(HTTPException) as caught:
        await read(pieces, 0.03)

    assert 408 == caught.value.status_code
    assert {"connection": "close"} == caught.value.headers


async def test_a_large_body_has_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is sent prolongs the time, so that a large body may take longer than a small one."""
    monkeypatch.setattr(middleware, "MIN_RATE", 1000)

    assert b"x" * 1000 == await read([b"x" * 100] * 10, 0.05, end=True)


async def test_after_the_body_the_client_may_wait() -> None:
    """The time is that of the body; the client of a long request sends nothing."""
    messages = [{"type": "http.request", "body": b"x", "more_body": False}, {"type": "http.disconnect"}]

    async def receive() -> Any:
        await asyncio.sleep(0 if len(messages) == 2 else 0.3)
        return messages.pop(0)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert "http.request" == (await receive())["type"]
        assert "http.disconnect" == (await receive())["type"]

    await BodyTimeout(app, 0.1)({"type": "http"}, receive, send)

    assert [] == messages
