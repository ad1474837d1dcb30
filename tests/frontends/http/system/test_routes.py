"""The settings and the log of the server, for administrators."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from fakes import Server
from octabox.engine.messages import DeviceMemory, Survey
from octabox.telemetry.logs import KEPT_LINES


def record(text: str, level: int = logging.INFO) -> logging.LogRecord:
    """Return a log record."""
    return logging.LogRecord("octabox.http", level, __file__, 1, text, None, None)


@pytest.mark.parametrize(
    ("settings", "key", "status"),
    [
        ({}, None, 200),
        ({"host": "0.0.0.0"}, None, 403),
        ({"api_keys": ["user"]}, "user", 403),
        ({"admin_keys": ["admin"]}, None, 401),
        ({"admin_keys": ["admin"], "api_keys": ["user"]}, "user", 401),
        ({"admin_keys": ["admin"], "api_keys": ["user"]}, "admin", 200),
    ],
)
async def test_only_administrators(settings: dict[str, Any], key: str | None, status: int) -> None:
    """An API key is not enough, and without keys only this machine may."""
    headers = {"authorization": f"Bearer {key}"} if key else {}
    http = Server(**settings).http

    assert [status] * 2 == [(await http.get(f"/v1/system{each}", headers=headers)).status_code for each in ("", "/log")]


async def test_the_installation_and_the_settings() -> None:
    """Versions, the machine, and each setting; no key or password is shown."""
    server = Server(admin_keys="hunter2hunter2", job_store="postgresql://me:swordfish@host/jobs", queue_size=3)
    answer = await server.http.get("/v1/system", headers={"authorization": "Bearer hunter2hunter2"})
    body = answer.json()

    assert body["versions"]["diffusers"]
    assert body["machine"]["cores"] >= 1
    assert {"value": "3", "source": "default"} == body["settings"]["queue_size"]
    assert "hunter2" not in answer.text
    assert "swordfish" not in answer.text


async def test_the_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each accelerator with its free bytes; a search that takes long is not waited for."""
    server = Server()
    assert {"accelerators": {}, "problem": None} == (await server.http.get("/v1/system")).json()["devices"]

    survey = Survey((DeviceMemory("cuda:0", 5), DeviceMemory("cuda:1", 7), DeviceMemory("xpu:0")))
    searches = [asyncio.sleep(0, survey.to_json()), asyncio.sleep(99)]
    with_devices = Server()
    object.__setattr__(with_devices.ctx, "devices", lambda: searches.pop(0))
    found = (await with_devices.http.get("/v1/system")).json()["devices"]
    assert {"accelerators": {"cuda:0": 5, "cuda:1": 7, "xpu:0": None}, "problem": None} == found
    monkeypatch.setattr("octabox.frontends.http.system.routes.DEVICE_TIMEOUT", 0.01)
    late = (await with_devices.http.get("/v1/system")).json()["devices"]
    assert "still being looked for" in late["problem"]


async def test_the_log() -> None:
    """The last lines with their numbers and levels; a client asks for those after the last one that it has."""
    server = Server()
    for text in ("first", "second"):
        server.log.handle(record(text))
    server.log.handle(record("third", logging.ERROR))
    lines = (await server.http.get("/v1/system/log")).json()["data"]
    later = (await server.http.get("/v1/system/log?after=2")).json()["data"]
    last = (await server.http.get("/v1/system/log?limit=1")).json()["data"]

    assert [(1, "info"), (2, "info"), (3, "error")] == [(each["number"], each["level"]) for each in lines]
    assert lines[0]["text"].endswith("octabox.http: first")
    assert later == last == lines[2:]


async def test_a_new_process_counts_its_lines_anew() -> None:
    """A client that has lines of another process can tell by the id of the process."""
    one, other = Server(), Server()
    found = [(await each.http.get("/v1/system/log?after=9")).json()["process"] for each in (one, one, other)]

    assert found[0] == found[1] != found[2]


async def test_keys_are_not_in_the_log() -> None:
    """Those of the server are redacted wherever a line has them."""
    server = Server(api_keys="hunter2hunter2")
    server.log.handle(record("a request by hunter2hunter2, Bearer other-key"))

    assert "hunter2" not in server.log.after()[0].text
    assert "other-key" not in server.log.after()[0].text


async def test_few_lines_are_kept() -> None:
    """The oldest go first."""
    server = Server()
    for index in range(KEPT_LINES + 5):
        server.log.handle(record(f"line {index} {'x' * 5000}"))
    lines = server.log.after()

    assert (KEPT_LINES, 6) == (len(lines), lines[0].number)
    assert max(len(each.text) for each in lines) <= 2000
