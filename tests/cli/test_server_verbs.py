"""The verbs that ask a server, against a real one."""

from __future__ import annotations

import json
import time
from typing import Any

import httpx
import pytest
from click.testing import CliRunner

from octabox.cli import ps
from octabox.cli.errors import exit_code
from octabox.cli.main import cli
from octabox.errors import AuthenticationError, NotFoundError, OctaboxError
from octabox.frontends.http.errors import error_body


def test_ps_and_stop_follow_a_model(address: str) -> None:
    """A loaded model is shown with its process; once stopped it is shown no more."""
    httpx.post(f"{address}/v1/models/demo/load", timeout=240, trust_env=False).raise_for_status()
    shown = CliRunner().invoke(cli, ["ps", "--url", address])
    models = json.loads(CliRunner().invoke(cli, ["ps", "--url", address, "--json"]).output)
    stopped = CliRunner().invoke(cli, ["stop", "demo", "--url", address])
    after = json.loads(CliRunner().invoke(cli, ["ps", "--url", address, "--json"]).output)

    assert "demo" in shown.output
    assert models[0]["status"]["pid"] > 0
    assert "is unloaded" in stopped.output
    assert [] == after


def test_no_server_is_said_plainly() -> None:
    """The error states that no server responds, and how to start one."""
    result = CliRunner().invoke(cli, ["ps", "--url", "http://127.0.0.1:9"])

    assert isinstance(result.exception, NotFoundError)
    assert "octabox serve" in result.exception.hint


@pytest.mark.parametrize(
    ("status", "content", "reason"),
    [
        (200, b"<html>Hello.</html>", "it responded with 200 and text/html"),
        (404, b"<html>Not here.</html>", "it responded with 404 and text/html"),
        (200, b'{"object": "list", "data": [{"id": "llama", "owned_by": "library"}]}', "its list of models has none"),
        (200, b"[]", "its list of models has none"),
        (500, b'{"error": "broken"}', "it responded with 500"),
    ],
)
def test_another_server_is_named_as_such(
    monkeypatch: pytest.MonkeyPatch, status: int, content: bytes, reason: str
) -> None:
    """Whether it is a web page, a server of language models or anything else."""
    answer = httpx.Response(status, content=content, headers={"content-type": "text/html; charset=utf-8"})
    monkeypatch.setattr(httpx, "request", lambda *_, **__: answer)
    error = CliRunner().invoke(cli, ["ps", "--url", "http://other:1"]).exception

    assert isinstance(error, NotFoundError)
    assert f"The server at http://other:1 is not Octabox: {reason}" in error.message


def test_an_error_of_the_server_has_its_exit_code(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An unknown model is not found, a wrong key is refused, and a code that no class has is any other error."""
    unknown = CliRunner().invoke(cli, ["stop", "nosuch", "--url", address]).exception
    assert isinstance(unknown, NotFoundError)
    assert (3, "The server responded with 404") == (exit_code(unknown), unknown.message.partition(":")[0])

    found = []
    other = {"error": {"message": "No coffee.", "code": "teapot"}}
    for status, body in ((401, error_body(AuthenticationError("Wrong key."))), (418, other)):
        response = httpx.Response(status, json=body)
        monkeypatch.setattr(httpx, "request", lambda *_, response=response, **__: response)
        found.append(CliRunner().invoke(cli, ["stop", "demo", "--url", "http://here:1"]).exception)

    assert [8, 1] == [exit_code(each) for each in found if isinstance(each, OctaboxError)]


def test_ps_tells_reserved_memory_from_memory_in_use() -> None:
    """Of what a process has reserved on an accelerator, a part is in use; on the host there is one figure."""
    status = {
        "state": "ready",
        "pipeline": "FluxPipeline",
        "device": "cuda:1",
        "memory": {"host": 2**30, "cuda:1": 3 * 2**30},
        "allocated": {"cuda:1": 2**31},
        "waiting": 0,
        "pid": 7,
    }

    assert "host 1024 MiB, cuda:1 3072 MiB (2048 in use)" in ps._row({"id": "flux", "status": status})


def test_ps_shows_how_long_a_model_stays() -> None:
    """The time since its last request, and the time that is left to it."""
    status: dict[str, Any] = {
        "state": "ready",
        "pipeline": None,
        "device": "cpu",
        "memory": {},
        "waiting": 0,
        "pid": 7,
        "memory_mode": "full",
        "last_used": time.time() - 61,
        "time_left": 239.4,
        "pinned": False,
    }

    assert ["full", "", "1m 1s ago", "3m 59s"] == ps._row({"id": "x", "status": status})[7:11]
    assert "pinned" == ps._row({"id": "x", "status": {**status, "pinned": True}})[10]


def test_ps_shows_models_that_share_their_weights_in_one_row(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first of the names in the list is first in the row."""
    status: dict[str, Any] = {
        "names": ["b", "a"],
        "state": "ready",
        "pipeline": None,
        "device": "cpu",
        "memory": {},
        "waiting": 0,
        "pid": 7,
    }
    body = {
        "data": [
            {"id": "a", "owned_by": "octabox", "status": status},
            {"id": "b", "owned_by": "octabox", "status": status},
            {"id": "c", "owned_by": "octabox", "alias_of": "b", "status": status},
        ]
    }
    monkeypatch.setattr(ps, "send_request", lambda *_: body)
    (shown,) = json.loads(CliRunner().invoke(cli, ["ps", "--url", "http://here:1", "--json"]).output)

    assert "a, b, c" == ps._row(shown)[0]


def test_ps_shows_a_process_once_with_all_its_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """An alias is a name of the process, not a process of its own."""
    status = {"state": "ready", "pipeline": "FluxPipeline", "device": "cpu", "memory": {}, "waiting": 0, "pid": 7}
    names = {"flux": {}, "idle": {}, "gpt-image-1": {"alias_of": "flux"}, "other": {"alias_of": "idle"}}
    data: list[dict[str, object]] = [{"id": name, "owned_by": "octabox", **fields} for name, fields in names.items()]
    data = [{**each, "status": status} if "idle" not in each.values() else each for each in data]
    monkeypatch.setattr(httpx, "request", lambda *_, **__: httpx.Response(200, json={"data": data}))
    (shown,) = json.loads(CliRunner().invoke(cli, ["ps", "--url", "http://here:1", "--json"]).output)

    assert ("flux", ["gpt-image-1"]) == (shown["id"], shown["aliases"])
    assert "flux, gpt-image-1" == ps._row(shown)[0]


def test_ps_shows_the_device_and_the_process_of_each_replica() -> None:
    """A model on two devices is one row."""
    replicas = [{"device": f"cuda:{number}", "pid": 7 + number, "state": "ready", "memory": {}} for number in range(2)]
    status = {
        "state": "busy",
        "pipeline": "FluxPipeline",
        "device": "cuda:0",
        "memory": {},
        "waiting": 3,
        "pid": 7,
        "replicas": replicas,
    }
    row = ps._row({"id": "flux", "status": status})

    assert "cuda:0, cuda:1" in row
    assert "7, 8" in row
