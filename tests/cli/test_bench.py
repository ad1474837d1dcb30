"""The verb bench, with the embedded model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from octabox.cli.main import cli
from octabox.errors import InvalidParameterError, OctaboxError


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


@pytest.mark.parametrize(
    ("options", "message"),
    [(["--batches", "0"], "whole numbers from 1"), (["--memory", "most"], "There is no memory mode 'most'.")],
)
def test_bench_refuses_what_it_cannot_measure(options: list[str], message: str) -> None:
    """Before anything is loaded."""
    error = CliRunner().invoke(cli, ["bench", "demo", *options], standalone_mode=False).exception

    assert isinstance(error, OctaboxError | InvalidParameterError)
    assert message in error.message


def test_a_cascade_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Since its first stage alone would be measured; the error names the stages."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "both.yaml").write_text("stages: [demo, {model: demo, device: cpu}]\n", encoding="utf-8")
    error = CliRunner().invoke(cli, ["bench", "both", "--models", "."], standalone_mode=False).exception

    assert isinstance(error, InvalidParameterError)
    assert "'both' is a cascade of 2 stages, which cannot be measured as one model." == error.message
    assert "Name one of its stages: demo." == error.hint
    assert ["both.yaml"] == [file.name for file in tmp_path.iterdir()]
