"""The verb info."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from octabox.cli.info import INTERNAL_EXTRAS, PURPOSES
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


def test_each_extra_has_its_purpose(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of each one that pyproject.toml offers to users, as the guide states it, in the table and as JSON."""
    root = Path(__file__).parents[2]
    project = (root / "pyproject.toml").read_text(encoding="utf-8")
    section = project.split("[project.optional-dependencies]\n")[1].split("\n[")[0]
    offered = set(re.findall(r"^([\w-]+) = \[", section, re.MULTILINE)) - INTERNAL_EXTRAS
    guide = (root / "docs" / "guides" / "install.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `octabox\[(\w+)\]` \| (.+) \|$", guide, re.MULTILINE))
    lines = info(monkeypatch, NO_DEVICES).splitlines()

    assert offered == set(PURPOSES)
    assert {name: re.sub(r"\[(.+?)\]\(.+?\)", r"\1", text) for name, text in rows.items()} == PURPOSES
    assert json.loads(info(monkeypatch, NO_DEVICES, "--json"))["purposes"] == PURPOSES
    for extra, purpose in PURPOSES.items():
        assert any(line.split()[:1] == [extra] and line.endswith(purpose) for line in lines), extra


def test_keys_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither as text nor as JSON: people paste this into reports."""
    for words in ((), ("--json",)):
        assert "hunter2" not in info(monkeypatch, NO_DEVICES, *words, env={"OCTABOX_API_KEYS": "hunter2"})


def test_devices_that_cannot_be_listed_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without accelerators, and a driver that fails."""
    assert "models run on the CPU" in info(monkeypatch, NO_DEVICES)
    assert "the driver is too old" in info(monkeypatch, Survey(problem="the driver is too old"))
