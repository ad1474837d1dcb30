"""The application around its routes, and the socket it listens on."""

import asyncio
import logging
import re
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
import uvicorn
from fastapi import FastAPI
from starlette.types import Message

from fakes import Server
from octabox.errors import ConfigError
from octabox.frontends.http import app
from octabox.frontends.http.network.listening import listen
from octabox.service.jobs.errors import JobStoreError
from octabox.service.jobs.store.database import open_database
from octabox.service.jobs.store.schema import statements
from queue_houses import until

MODELS = "/v1/models"


def bodies(size: int) -> AsyncIterator[bytes]:
    """Return a body of this size, whose length no header tells."""

    async def pieces() -> AsyncIterator[bytes]:
        yield b"--x\r\ncontent-disposition: form-data; name=a\r\n\r\n"
        for _ in range(0, size, 100):
            yield b" " * 100

    return pieces()


async def test_keys_are_asked_for() -> None:
    """With keys, only who shows one may use the API; a good request after a bad one is served."""
    server = Server(api_keys="one,two")
    async with server.client("three") as client:
        with pytest.raises(openai.AuthenticationError) as caught:
            await client.models.list()
        known = await client.with_options(api_key="two").models.list()

    assert "invalid_api_key" == caught.value.code
    assert "Bearer" == caught.value.response.headers["www-authenticate"]
    assert 2 == len(known.data)


async def test_key_is_asked_for_before_the_body_is_read() -> None:
    """Who has no key is told so, whatever the body is."""
    server = Server(api_keys="one")
    answer = await server.http.post("/v1/images/generations", content=b"{")

    assert 401 == answer.status_code


async def test_health_needs_no_key() -> None:
    """Probes and results need no key."""
    server = Server(api_keys="one")

    assert 200 == (await server.http.get("/healthz")).status_code


@pytest.mark.parametrize("path", ["/v1/images/generations", "/v1/images/edits"])
@pytest.mark.parametrize("declared", [True, False])
async def test_body_that_is_too_large(path: str, *, declared: bool) -> None:
    """A body over the limit is refused, whether a header tells its length or not; a good request is served after it."""
    server = Server(max_upload_bytes=1000)
    content = b" " * 2000 if declared else bodies(2000)
    kind = "multipart/form-data; boundary=x" if path.endswith("edits") else "application/json"
    answer = await server.http.post(path, content=content, headers={"content-type": kind})

    assert (413, "request_too_large") == (answer.status_code, answer.json()["error"]["code"])
    assert 200 == (await server.generate(prompt="x")).status_code


async def test_client_that_leaves_during_its_upload(caplog: pytest.LogCaptureFixture) -> None:
    """A form that never ends is one line in the log, and no error of the server."""
    received: Iterator[Message] = iter(
        [{"type": "http.request", "body": b"--x\r\n", "more_body": True}, {"type": "http.disconnect"}]
    )
    sent: list[Message] = []

    async def receive() -> Message:
        return next(received)

    async def send(message: Message) -> None:
        sent.append(message)

    path, kind = "/v1/images/edits", b"multipart/form-data; boundary=x"
    headers = [(b"host", b"127.0.0.1"), (b"content-type", kind)]
    scope = {"type": "http", "method": "POST", "path": path, "scheme": "http", "headers": headers, "query_string": b""}
    with caplog.at_level("INFO"):
        await Server().app(scope, receive, send)

    assert [] == sent
    assert [(path in each.getMessage(), each.exc_info) for each in caplog.records] == [(True, None)]


async def test_body_whose_length_is_absurd() -> None:
    """A declared length of thousands of digits is refused like any other."""
    server = Server()
    headers = {"content-type": "application/json", "content-length": "9" * 5000}
    answer = await server.http.post("/v1/images/generations", content=b"", headers=headers)

    assert 413 == answer.status_code


async def test_a_declared_body_that_is_too_large_is_not_read() -> None:
    """One byte over the limit is enough for a refusal, after which the connection is closed."""
    sent: list[Message] = []

    async def receive() -> Message:
        raise AssertionError

    async def send(message: Message) -> None:
        sent.append(message)

    headers = [(b"host", b"127.0.0.1"), (b"content-type", b"application/json"), (b"content-length", b"101")]
    path = "/v1/images/generations"
    scope: dict[str, Any] = {"type": "http", "method": "POST", "path": path, "headers": headers}
    scope |= {"scheme": "http", "query_string": b""}
    await Server(max_upload_bytes=100).app(scope, receive, send)

    assert 413 == sent[0]["status"]
    assert (b"connection", b"close") in sent[0]["headers"]


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nowhere", 404, "not_found"),
        ("GET", "/v1/nowhere", 404, "not_found"),
        ("DELETE", "/healthz", 405, "method_not_allowed"),
        ("GET", "/v1/images/generations", 405, "method_not_allowed"),
    ],
)
async def test_wrong_routes(method: str, path: str, status: int, code: str) -> None:
    """A route that is not there is told in OpenAI's shape."""
    answer = await Server().http.request(method, path)

    assert (status, code) == (answer.status_code, answer.json()["error"]["code"])


async def test_unexpected_error_tells_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """What breaks unexpectedly is logged with its traceback, and the client learns nothing of it."""
    server = Server()
    server.generations.error = ZeroDivisionError("secret")
    answer = await server.generate(prompt="x")

    assert (500, "internal_error") == (answer.status_code, answer.json()["error"]["code"])
    assert "secret" not in answer.text
    assert "ZeroDivisionError: secret" in caplog.text


async def test_cors() -> None:
    """Pages of the origins that the settings name may call, refusals included; others may not."""
    server = Server(cors_origins="https://page.example", max_upload_bytes=10)
    origin = {"origin": "https://page.example"}
    asked = {**origin, "access-control-request-method": "POST", "access-control-request-headers": "authorization"}
    preflight = await server.http.options("/v1/images/generations", headers=asked)
    refused = await server.http.post("/v1/images/generations", content=b" " * 20, headers=origin)
    stranger = await server.http.get(MODELS, headers={"origin": "https://other.example"})

    assert 200 == preflight.status_code
    assert "https://page.example" == refused.headers["access-control-allow-origin"]
    assert "access-control-allow-origin" not in stranger.headers


@pytest.mark.parametrize("listed", ["https://Chat.example.org/", "https://chat.example.org:443", "*"])
async def test_cors_of_an_origin_that_is_written_differently(listed: str) -> None:
    """An origin is one and the same in all spellings, for the preflight as for the request."""
    server = Server(cors_origins=listed)
    origin = {"origin": "https://chat.example.org"}
    preflight = await server.http.options(MODELS, headers={**origin, "access-control-request-method": "GET"})
    answer = await server.http.get(MODELS, headers=origin)

    assert (200, 200) == (preflight.status_code, answer.status_code)
    assert answer.headers["access-control-allow-origin"] in ("*", origin["origin"])


async def test_cors_of_a_server_in_the_users_network() -> None:
    """A page of the internet may call it, which its browser asks for; a page that is not listed may not."""
    server = Server(cors_origins="https://page.example")
    asked = {"access-control-request-method": "POST", "access-control-request-private-network": "true"}
    listed = await server.http.options(MODELS, headers={"origin": "https://page.example", **asked})
    other = await server.http.options(MODELS, headers={"origin": "https://other.example", **asked})

    assert (200, "true") == (listed.status_code, listed.headers["access-control-allow-private-network"])
    assert 400 == other.status_code


async def test_pages_may_read_the_headers_that_clients_need() -> None:
    """All headers of our own, and those that tell when to repeat a request, are exposed."""
    answer = await Server(cors_origins="*").http.get(MODELS, headers={"origin": "https://page.example"})
    exposed = set(answer.headers["access-control-expose-headers"].split(", "))

    assert {
        "retry-after",
        "x-should-retry",
        "location",
        "openai-poll-after-ms",
        "x-octabox-seed",
        "x-hf-warning",
    } <= exposed


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"origin": "http://evil.example"}, "forbidden_origin"),
        ({"origin": "null"}, "forbidden_origin"),
        ({"host": "evil.example"}, "forbidden_host"),
        ({"host": "evil.example", "origin": "http://evil.example"}, "forbidden_host"),
    ],
)
@pytest.mark.parametrize("path", ["/v1/images/generations", "/v1/models/one/unload", "/healthz", "/nowhere"])
async def test_pages_of_other_sites_are_refused(path: str, headers: dict[str, str], code: str) -> None:
    """A request that a page of another site sent, or by a name that leads elsewhere, reaches no route."""
    server = Server()
    body = b'{"prompt": "x"}'
    answer = await server.http.post(path, content=body, headers={"content-type": "application/json", **headers})

    assert (403, code) == (answer.status_code, answer.json()["error"]["code"])
    assert [] == server.generations.requests


async def test_the_public_address_is_one_of_the_servers_own() -> None:
    """Pages and hosts of `public_url` need no further setting."""
    server = Server(public_url="https://images.example.org/octabox")
    headers = {"origin": "https://images.example.org", "host": "images.example.org"}

    assert 200 == (await server.http.get(MODELS, headers=headers)).status_code


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "", "application/jsonp"])
@pytest.mark.parametrize(
    "path", ["/v1/images/generations", "/v1/generations", "/v1/videos", "/v1/audio/speech", "/video"]
)
async def test_json_says_that_it_is(path: str, kind: str) -> None:
    """What a browser sends without asking, text and forms, is never taken for JSON."""
    server = Server()
    answer = await server.http.post(path, content=b'{"prompt": "x"}', headers={"content-type": kind} if kind else {})

    # Some of these routes take forms too, and look for other fields there.
    assert 415 == answer.status_code or ("form" in kind and answer.is_client_error)
    assert [] == server.generations.requests


async def test_a_body_is_bounded_before_it_is_read() -> None:
    """A million small values and a nest of lists are refused; an array with as many numbers as embeddings have is read."""
    server = Server()
    many = await server.generate(prompt="x", latents=[0] * 1_000_002)
    deep = await server.http.post(
        "/v1/generations",
        content=b'{"model": "one", "params": {"scale": ' + b"[" * 500 + b"]" * 500 + b"}}",
        headers={"content-type": "application/json"},
    )

    assert (400, 400) == (many.status_code, deep.status_code)
    assert ".npy" in many.json()["error"]["message"]
    assert "nested" in deep.json()["error"]["message"]
    assert 200 == (await server.generate(prompt="x", prompt_embeds=[[0.0] * 768] * 77)).status_code


async def test_results_go_with_the_server() -> None:
    """When the server ends, so do its lifespan and its results."""
    server = Server()
    async with server.app.router.lifespan_context(server.app):
        url = (await server.generate(prompt="x")).json()["data"][0]["url"]
        before = await server.http.get(url)
    after = await server.http.get(url)

    assert (200, 503) == (before.status_code, after.status_code)
    assert ["started", "ended"] == server.lived


async def test_expired_results_are_deleted_whatever_fails(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """One part that fails prevents neither the others nor the next time, and is logged."""
    monkeypatch.setattr(app, "EXPIRY_INTERVAL", 0.01)
    server, parts = Server(), list[str]()

    def fail(part: str, error: Exception) -> None:
        parts.append(part)
        raise error

    async def fail_later() -> None:
        fail("queue", JobStoreError("It does not respond."))

    monkeypatch.setattr(server.ctx.jobs, "delete_expired", lambda: fail("jobs", OSError("No such disk.")))
    monkeypatch.setattr(server.ctx.queue.results, "delete_expired", fail_later)
    monkeypatch.setattr(server.ctx.results, "expire", lambda: fail("results", OSError("No such disk.")))
    async with server.app.router.lifespan_context(server.app):
        await until(lambda: len(parts) > 5)

    assert ["jobs", "queue", "results"] * 2 == parts[:6]
    assert "It does not respond." in caplog.text
    assert "No such disk." in caplog.text


async def test_a_store_that_starts_later_is_opened(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Without a request that needs it, whatever the first attempts raise; a wrong setting is not tried again."""
    monkeypatch.setattr(app, "OPEN_DELAY", 0.0)
    monkeypatch.setattr(app, "OPEN_DELAYS", (0.01,))
    server, wrong = Server(), Server()
    opened, errors = (
        server.queue.store.open,
        [JobStoreError("Starting."), ValueError("Strange."), JobStoreError("Still.")],
    )
    attempts: list[str] = []

    async def open_later() -> None:
        if errors:
            raise errors.pop(0)
        await opened()

    async def refuse() -> None:
        attempts.append("")
        raise ConfigError("It is not the URL of a database.")

    monkeypatch.setattr(server.queue.store, "open", open_later)
    monkeypatch.setattr(wrong.queue.store, "open", refuse)
    for each in (server, wrong):
        async with each.app.router.lifespan_context(each.app):
            await until(lambda: server.queue.is_open)
            await asyncio.sleep(0.1)

    assert [""] == attempts
    assert all(each in caplog.text for each in ("Starting.", "Strange.", "Still.", "not the URL"))


async def test_a_store_of_a_newer_version_is_reported_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    """Another attempt does not change that, so that there is none; the log and those who need jobs are told what to do."""
    monkeypatch.setattr(app, "OPEN_DELAY", 0.0)
    monkeypatch.setattr(app, "OPEN_DELAYS", (0.01,))
    database = open_database(None, tmp_path)
    with database.engine.begin() as connection:
        statements.set_property(connection, "version", "99")
    database.close()
    server, attempts = Server(data_dir=str(tmp_path)), list[str]()
    opened = server.queue.store.open

    async def count() -> None:
        attempts.append("")
        await opened()

    monkeypatch.setattr(server.queue.store, "open", count)
    caplog.set_level(logging.DEBUG, "octabox.http")
    async with server.app.router.lifespan_context(server.app):
        await until(lambda: bool(attempts))
        await asyncio.sleep(0.3)
        tried = len(attempts)
        refused = await server.http.get("/v1/jobs")

    reports = [each for each in caplog.records if "version 99" in each.getMessage()]
    assert (1, ["ERROR"]) == (tried, [each.levelname for each in reports])
    assert "set another `data_dir`" in reports[0].getMessage()
    assert (500, "configuration_error") == (refused.status_code, refused.json()["error"]["code"])
    assert "version 99" in refused.json()["error"]["message"]


async def test_api_is_documented() -> None:
    """The server describes its routes and their fields."""
    told = (await Server().http.get("/openapi.json")).json()
    body = told["paths"]["/v1/images/generations"]["post"]["requestBody"]["content"]["application/json"]["schema"]

    assert "negative_prompt" in body["properties"]


async def test_port_in_use() -> None:
    """A port that someone else listens on is a mistake of the configuration, with a hint."""
    with socket.create_server(("127.0.0.1", 0)) as other, pytest.raises(ConfigError, match="--port") as caught:
        listen(FastAPI(), "127.0.0.1", other.getsockname()[1], print)

    assert "port" == caught.value.parameter


async def test_address_that_is_none() -> None:
    """An address that this machine has not is a mistake of the configuration."""
    with pytest.raises(ConfigError) as caught:
        listen(FastAPI(), "no.such.host.invalid", 0, print)

    assert "host" == caught.value.parameter


async def test_listen_announces_where(monkeypatch: pytest.MonkeyPatch) -> None:
    """The announced URL has the port that was taken, and answers."""
    urls: list[str] = []
    servers: list[uvicorn.Server] = []
    announced, startup = threading.Event(), uvicorn.Server.startup

    async def remember(self: uvicorn.Server, sockets: list[socket.socket] | None = None) -> None:
        servers.append(self)
        await startup(self, sockets)

    def announce(url: str) -> None:
        urls.append(url)
        announced.set()

    monkeypatch.setattr(uvicorn.Server, "startup", remember)
    thread = threading.Thread(target=listen, args=(Server().app, "127.0.0.1", 0, announce))
    thread.start()
    assert await asyncio.to_thread(announced.wait, 10)
    async with httpx.AsyncClient(trust_env=False) as client:
        answer = await client.get(f"{urls[0]}/healthz")
    servers[0].should_exit = True
    await asyncio.to_thread(thread.join, 10)

    assert {"status": "ok"} == answer.json()
    assert not urls[0].endswith(":0")


@pytest.mark.parametrize(
    ("content", "kind", "status", "words"),
    [
        (b'{"a": ', "application/json", 400, "The body is not valid JSON"),
        (b"[]", "application/json", 400, "must be a JSON object"),
        (b"{}", "text/plain", 415, "The content type must be "),
    ],
)
async def test_every_route_reads_its_body_alike(content: bytes, kind: str, status: int, words: str) -> None:
    """What is no JSON is answered in our words, and what a page of another site may send is not read."""
    server = Server(a1111=True)
    others = {}
    for path, methods in server.app.openapi()["paths"].items():
        place = re.sub("{([^}]*)}", lambda found: "0" if found[1] == "index" else "demo", path)
        for method, route in methods.items():
            kinds = route.get("requestBody", {}).get("content", {})
            if "application/json" in kinds and not (content == b"[]" and path == "/v1/jobs"):
                answer = await server.http.request(method, place, content=content, headers={"content-type": kind})
                if (status, True) != (answer.status_code, words in answer.text):
                    others[f"{method} {path}"] = answer.text

    assert {} == others


def test_wire_needs_no_torch() -> None:
    """Importing the wire brings in no torch."""
    code = "import sys, octabox.frontends.http.app; sys.exit('torch' in sys.modules)"

    assert 0 == subprocess.run([sys.executable, "-c", code], check=False).returncode
