"""`octabox stop MODEL`, with a real server in the background of `octabox run`."""

from __future__ import annotations

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
from octabox.errors import NotFoundError


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


def stop(*arguments: str) -> Result:
    """Run the command."""
    return CliRunner().invoke(cli, ["stop", *arguments])


def test_a_model_of_the_background_is_unloaded(background: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its server stays. Only a server without the model leads there, and no address that the user has named."""
    assert ["demo"] == [each["id"] for each in list_background()]
    assert isinstance(stop("demo", "--url", "http://127.0.0.1:8080").exception, NotFoundError)
    assert isinstance(stop("nosuch").exception, NotFoundError)
    assert ["demo"] == [each["id"] for each in list_background()]

    monkeypatch.setattr(httpx, "request", lambda *_, **__: httpx.Response(200, json={"unloaded": False}))
    assert "demo is unloaded.\n" == stop("demo").output
    assert [] == list_background()
    assert "demo was not in memory.\n" == stop("demo").output

    monkeypatch.setattr(httpx, "request", refuse)
    assert isinstance(stop("demo").exception, NotFoundError)
    assert "(process" in click.unstyle(stop().output)
