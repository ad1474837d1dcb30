"""The verb bench, with the embedded model."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from octabox.cli.errors import exit_code
from octabox.cli.main import cli
from octabox.errors import InvalidParameterError


@pytest.mark.slow
def test_bench_prints_a_table_and_writes_a_chart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two batch sizes of a short call; JSON has the same numbers, and the chart a point for each."""
    monkeypatch.chdir(tmp_path)
    options = ["bench", "demo", "--batches", "1,2", "--steps", "2", "--size", "64x64", "-o", "chart.svg"]
    shown = CliRunner().invoke(cli, options, standalone_mode=False)
    assert shown.exception is None
    assert "demo (StableDiffusionPipeline) on cpu" in shown.output
    assert "it/s at batch size 1 / 2" in shown.output
    assert "num_inference_steps 2" in shown.output
    assert 2 == (tmp_path / "chart.svg").read_text().count("<circle")

    found = json.loads(CliRunner().invoke(cli, [*options[:-2], "--json"], standalone_mode=False).stdout)
    assert ("demo", "cpu", [1, 2]) == (found["model"], found["device"], found["batches"])
    (mode,) = found["modes"]
    assert "full" == mode["mode"]
    assert all(each["iterations_per_second"] > 0 for each in mode["batches"])
    assert mode["memory"]["host"] > 2**20


@pytest.mark.slow
def test_ctrl_c_shows_what_has_been_measured(tmp_path: Path) -> None:
    """The table has the batch sizes before the one that is measured, and the exit code is that of an interruption."""
    controller, terminal = pty.openpty()
    command = [
        sys.executable,
        "-m",
        "octabox",
        "bench",
        "demo",
        "--batches",
        "1,64",
        "--steps",
        "20",
        "--size",
        "64x64",
    ]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=terminal, text=True) as process:
        os.close(terminal)
        shown = b""
        while b"batch size 64" not in shown:
            shown += os.read(controller, 4096)
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=30)
        os.close(controller)

    assert 130 == process.returncode
    assert "it/s at batch size 1 / 64" in output
    assert re.search(r"^full  +[\d.e+]+  ", output, re.MULTILINE)


@pytest.mark.parametrize(
    ("options", "message"),
    [(["--batches", "0"], "whole numbers from 1"), (["--memory", "most"], "There is no memory mode 'most'.")],
)
def test_bench_refuses_what_it_cannot_measure(options: list[str], message: str) -> None:
    """Before anything is loaded."""
    error = CliRunner().invoke(cli, ["bench", "demo", *options], standalone_mode=False).exception

    assert isinstance(error, InvalidParameterError)
    assert message in error.message
    assert 2 == exit_code(error)


def test_a_cascade_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Since its first stage alone would be measured; the error names the stages."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "both.yaml").write_text("stages: [demo, {model: demo, device: cpu}]\n", encoding="utf-8")
    error = CliRunner().invoke(cli, ["bench", "both", "--models", "."], standalone_mode=False).exception

    assert isinstance(error, InvalidParameterError)
    assert "'both' is a cascade of 2 stages, which cannot be measured as one model." == error.message
    assert "Name one of its stages: demo." == error.hint
    assert ["both.yaml"] == [file.name for file in tmp_path.iterdir()]
