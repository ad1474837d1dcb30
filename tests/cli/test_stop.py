"""`octabox stop MODEL` and `octabox ps`, with a real server in the background of `octabox run`."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import httpx
import pytest
from click.testing import CliRunner, Result

from octabox.cli.main import cli
from octabox.cli.ps import list_background
from octabox.cli.resident.launcher import end_servers
from octabox.errors import AuthenticationError, InvalidParameterError, NotFoundError, SecurityError
from octabox.frontends.http.errors import error_body

#: The status of a model in memory.
STATUS = {"state": "loaded", "pipeline": "X", "device": "cpu", "memory": {}, "waiting": 0}


@pytest.fixture
def background(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Keep the embedded model in the memory of a server in the background, while no other server responds."""
    runtime = tempfile.mkdtemp(prefix="ob")  # The path of a socket is short.
    monkeypatch.setenv("XDG_RUNTIME_DIR", runtime)
    monkeypatch.delenv("OCTABOX_URL", raising=False)
    command = [sys.executable, "-m", "octabox", "run", "demo", "a star", "--steps", "1", "-o", "star.png"]
    environ = {**os.environ, "OCTABOX_RUN_SERVER": "true"}
    subprocess.run(command, env=environ, cwd=runtime, check=True, capture_output=True, timeout=240)
    monkeypatch.setattr(httpx, "request", refuse)
    yield
    end_servers(Path(runtime, "octabox"), only_idle=False)
    shutil.rmtree(runtime, ignore_errors=True)


def refuse(*_: Any, **__: Any) -> httpx.Response:
    """Fail as a request does where no server responds."""
    raise httpx.ConnectError("refused")


def ps(*arguments: str) -> Result:
    """Run the command that lists models."""
    return CliRunner().invoke(cli, ["ps", *arguments])


def stop(*arguments: str) -> Result:
    """Run the command."""
    return CliRunner().invoke(cli, ["stop", *arguments])


def test_a_model_of_the_background_is_unloaded(background: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its server stays. Only a server without the model leads there, and no address that the user has named."""
    assert ["demo"] == [each["id"] for each in list_background() or ()]
    assert isinstance(stop("demo", "--url", "http://127.0.0.1:8080").exception, NotFoundError)
    assert isinstance(stop("nosuch").exception, NotFoundError)
    assert ["demo"] == [each["id"] for each in list_background() or ()]

    monkeypatch.setattr(httpx, "request", lambda *_, **__: httpx.Response(200, json={"unloaded": False}))
    assert "demo is unloaded.\n" == stop("demo").output
    assert [] == list_background()
    assert "demo was not in memory.\n" == stop("demo").output

    monkeypatch.setattr(httpx, "request", refuse)
    assert isinstance(stop("demo").exception, NotFoundError)
    assert "(process" in click.unstyle(stop().output)


LLAMA = httpx.Response(404, json={"error": {"message": "File Not Found", "code": 404, "type": "not_found_error"}})
LOCKED = httpx.Response(401, json=error_body(AuthenticationError("The API key is missing.")))
OTHER = httpx.Response(200, json={"data": [{"id": "other", "owned_by": "octabox", "status": {**STATUS, "pid": 1}}]})


def test_any_server_may_be_at_the_default_address(background: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither `ps` nor `stop` needs it to find what `octabox run` keeps; without a model, the list is empty."""
    for answer, warning, others in (
        (LLAMA, "is not Octabox: it responded with 404: File Not Found", []),
        (LOCKED, "The API key is missing", []),
        (OTHER, "", ["other"]),
    ):
        monkeypatch.setattr(httpx, "request", lambda *_, answer=answer, **__: answer)
        found = ps("--json")
        assert [*others, "demo"] == [each["id"] for each in json.loads(found.stdout)]
        assert warning in found.stderr
        assert bool(warning) == bool(found.stderr)
    monkeypatch.setattr(httpx, "request", lambda *_, **__: LOCKED)
    assert isinstance(ps("--json", "--url", "http://127.0.0.1:8080").exception, SecurityError)
    assert isinstance(stop("nosuch").exception, SecurityError)
    assert "demo is unloaded.\n" == stop("demo").output
    monkeypatch.setattr(httpx, "request", refuse)
    empty = ps("--json")
    assert (0, [], "") == (empty.exit_code, json.loads(empty.stdout), empty.stderr)


def test_without_any_server_the_address_is_the_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Also where the answer is that of another server."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.delenv("OCTABOX_URL", raising=False)
    for answer, error in ((LLAMA, NotFoundError), (LOCKED, SecurityError)):
        monkeypatch.setattr(httpx, "request", lambda *_, answer=answer, **__: answer)
        assert type(ps().exception) is error
        assert type(stop("demo").exception) is error


@pytest.mark.parametrize("options", [("--url", "http://[::1"), ("--url", "http://a:b"), ("--api-key", "k\u2013y")])
def test_an_address_or_a_key_that_none_has(options: tuple[str, str]) -> None:
    """It is refused in a sentence."""
    for result in (ps(*options), stop("demo", *options)):
        assert isinstance(result.exception, InvalidParameterError), result.exception
