"""The commands of a cluster."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from octabox.cli.main import cli
from octabox.engine.ray import nodes
from octabox.engine.ray.nodes import NodeInfo, NodeOptions
from octabox.errors import ConfigError


def test_up_names_the_next_commands(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The head is printed, and how other machines and the server use it."""
    started: list[NodeOptions] = []

    def start(options: NodeOptions, _folder: Path) -> str:
        started.append(options)
        return "10.0.0.5:6379"

    monkeypatch.setattr(nodes, "start_node", start)
    flags = ["--gpus", "2", "--gpu-memory", "24GiB", "--cache-dir", str(tmp_path)]
    result = CliRunner().invoke(cli, ["cluster", "up", *flags])
    for size in ("much", "cuda:0=24GiB", "24GiB,host=2GiB"):
        wrong = CliRunner().invoke(cli, ["cluster", "up", "--gpu-memory", size])
        assert 2 == wrong.exit_code
        assert f"must be a size such as 24GiB, not '{size}'" in wrong.output

    assert "octabox cluster up --join 10.0.0.5:6379" in result.output
    assert "octabox serve --engine ray --ray-address 10.0.0.5:6379" in result.output
    assert [NodeOptions(gpus=2, gpu_memory=24 * 2**30)] == started


@pytest.mark.parametrize("port", ["0", "70000", "http"])
def test_a_port_that_is_none_is_refused(tmp_path: Path, port: str) -> None:
    """Nothing is started for it, also where Ray would select one by itself that nobody else knows."""
    result = CliRunner().invoke(cli, ["cluster", "up", "--port", port, "--cache-dir", str(tmp_path)])

    assert 2 == result.exit_code
    assert "Invalid value for '--port'" in result.output
    assert [] == list(tmp_path.iterdir())


def test_status_lists_the_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each node has what is free, and a lost one is not counted."""
    total = {"CPU": 8.0, "GPU": 2.0, "memory": 32 * 1024**3}
    found = [NodeInfo("10.0.0.5", True, total, {**total, "GPU": 1.0}), NodeInfo("10.0.0.6", False, {}, {})]
    monkeypatch.setattr(nodes, "read_nodes", lambda _address: found)
    lines = CliRunner().invoke(cli, ["cluster", "status"]).output.splitlines()

    assert ["10.0.0.5", "alive", "1", "of", "2", "8", "of", "8", "32.0", "of", "32.0", "GiB"] == lines[1].split()
    assert "lost" in lines[2]
    assert "1 of 2 nodes" == lines[-1]


def test_down_ends_only_what_up_has_started(tmp_path: Path) -> None:
    """Where nothing was started, nothing is ended."""
    result = CliRunner().invoke(cli, ["cluster", "down", "--cache-dir", str(tmp_path)])

    assert "No node of this machine was running.\n" == result.output


@pytest.mark.parametrize(
    ("flags", "seconds"),
    [((), nodes.DRAIN_TIMEOUT), (("--timeout", "5"), 5.0), (("--timeout", "0"), 0.0), (("--force",), 0.0)],
)
def test_down_waits_for_calls(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, flags: tuple[str, ...], seconds: float
) -> None:
    """It prints what it waits for to the standard error; by force it waits for nothing."""
    limits: list[float] = []

    def stop(_folder: Path, timeout: float, report: Callable[[str], None]) -> bool:
        limits.append(timeout)
        report("Waiting.")
        return True

    monkeypatch.setattr(nodes, "stop_node", stop)
    result = CliRunner().invoke(cli, ["cluster", "down", *flags, "--cache-dir", str(tmp_path)])

    assert [seconds] == limits
    assert ("The node of this machine has ended.\n", "Waiting.\n") == (result.stdout, result.stderr)


def test_a_head_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    """It is that of the settings, with the address."""
    arguments = ["cluster", "up", "--join", "127.0.0.1:1", "--cache-dir", str(tmp_path)]
    result = CliRunner().invoke(cli, arguments)

    assert isinstance(result.exception, ConfigError)
