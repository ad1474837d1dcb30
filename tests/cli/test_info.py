"""The verb info."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from octabox.cli.main import cli
from octabox.engine.local.devices import DevicePool
from octabox.engine.messages import DeviceMemory, Survey

NO_DEVICES = Survey()


def info(monkeypatch: pytest.MonkeyPatch, survey: Survey, *words: str, env: Mapping[str, str] | None = None) -> str:
    """Return what the verb prints on a machine with these devices."""
    monkeypatch.setattr(DevicePool, "ask", lambda _: survey)
    result = CliRunner().invoke(cli, ["info", *words], env=env, catch_exceptions=False)
    assert 0 == result.exit_code, result.output
    return result.stdout


def test_versions_devices_and_settings_are_shown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Each setting has its value and what set it."""
    monkeypatch.chdir(tmp_path)
    Path("octabox.yaml").write_text("queue_size: 3\n", encoding="utf-8")
    survey = Survey((DeviceMemory("cuda:0", 3 << 30), DeviceMemory("cuda:1")))
    lines = [line.split() for line in info(monkeypatch, survey, env={"OCTABOX_PORT": "9000"}).splitlines()]

    assert ["torch", torch.__version__] in lines
    assert ["cuda:0", "3.0", "GiB", "free"] in lines
    assert ["cuda:1", "available"] in lines
    assert ["port", "9000", "OCTABOX_PORT"] in lines
    assert ["queue_size", "3", "octabox.yaml:1"] in lines
    assert ["host", "127.0.0.1", "default"] in lines


def test_packages_are_shown_by_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that are not installed say so; what developers need is left out."""
    extras = json.loads(info(monkeypatch, NO_DEVICES, "--json"))["extras"]

    assert {"faces", "full", "postgres", "ray", "terminal", "turbo", "upscalers"} == set(extras)
    assert "onnxruntime" in extras["full"]
    assert None is extras["turbo"]["cache-dit"] or extras["turbo"]["cache-dit"]


def test_keys_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither as text nor as JSON: people paste this into reports."""
    for words in ((), ("--json",)):
        assert "hunter2" not in info(monkeypatch, NO_DEVICES, *words, env={"OCTABOX_API_KEYS": "hunter2"})


def test_devices_that_cannot_be_listed_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without accelerators, and a driver that fails."""
    assert "models run on the CPU" in info(monkeypatch, NO_DEVICES)
    assert "the driver is too old" in info(monkeypatch, Survey(problem="the driver is too old"))
