"""The fork server does not initialize the device; if it cannot avoid that, workers are spawned with a log message."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from accelerator.engine_run import Outcome, run_engine
from accelerator.environment import accelerator_environment

TESTS = Path(__file__).parents[1]

#: The line of the log when an engine changes to new processes.
CHANGES_TO_SPAWN = "has initialised fake in the fork server"

#: An image of the embedded model, and the status of the worker that made it.
GENERATE: list[dict[str, Any]] = [{"generate": "demo"}, {"status": None}]


def environment(folder: Path | None = None, **settings: Any) -> dict[str, str]:
    """Return the environment of a process with the device."""
    variables = {**os.environ, **accelerator_environment(folder, **settings)}
    return {**variables, "PYTHONPATH": os.pathsep.join([variables["PYTHONPATH"], str(TESTS)])}


def events(folder: Path, event: str) -> set[int]:
    """Return the ids of the processes with an event of the device."""
    lines = map(json.loads, (folder / "events.jsonl").read_text(encoding="utf-8").splitlines())
    return {line["pid"] for line in lines if line["event"] == event}


@pytest.fixture(scope="module")
def forked(tmp_path_factory: pytest.TempPathFactory) -> tuple[Outcome, Path]:
    """Return the outcome of an engine whose fork server counts devices without initialising them, and the folder of events."""
    folder = tmp_path_factory.mktemp("device")
    return run_engine(GENERATE, environment(folder)), folder


def test_the_fork_server_never_initialises_the_device(forked: tuple[Outcome, Path]) -> None:
    """Workers initialise the device, the fork server does not, and no fork is a bad one."""
    outcome, folder = forked
    initialised = events(folder, "initialized")

    assert outcome.fork_server is not None
    assert outcome.results[1][0]["pid"] in initialised
    assert outcome.fork_server not in initialised
    assert set() == events(folder, "bad fork")
    assert [] == [line for line in outcome.log if "WARNING" in line]


def test_a_worker_runs_on_the_device_by_default(forked: tuple[Outcome, Path]) -> None:
    """A model without a configured device is on the accelerator, and its status names it."""
    assert "fake:0" == forked[0].results[1][0]["device"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "cause",
    [{"nvml": False}, pytest.param({"initialize_at_import": True}, marks=pytest.mark.slow)],
    ids=lambda cause: next(iter(cause)),
)
def test_a_bad_fork_is_replaced_by_a_new_process(
    forked: tuple[Outcome, Path], tmp_path: Path, cause: dict[str, bool]
) -> None:
    """Without NVML, or with a library that uses the device at import, workers are spawned: one line in the log, same bytes."""
    outcome = run_engine([*GENERATE, {"load": ["other"]}], environment(tmp_path, **cause))

    assert forked[0].results[0] == outcome.results[0]
    assert ["fake:0", "fake:0"] == [outcome.results[1][0]["device"], outcome.results[2][0]["device"]]
    assert outcome.results[1][0]["pid"] not in events(tmp_path, "bad fork")
    assert 1 == sum(CHANGES_TO_SPAWN in line for line in outcome.log)
    assert 1 == sum("WARNING" in line for line in outcome.log)


@pytest.mark.slow
def test_a_named_device_in_a_bad_fork_is_reported_by_the_worker(tmp_path: Path) -> None:
    """Where no survey is needed since the device is named, the worker itself reports that it cannot use it."""
    outcome = run_engine([{"load": ["demo"], "device": "fake:0"}], environment(tmp_path, nvml=False))

    assert "fake:0" == outcome.results[0][0]["device"]
    assert 1 == sum(CHANGES_TO_SPAWN in line for line in outcome.log)


@pytest.mark.slow
def test_a_conversion_in_a_bad_fork_is_done_by_a_new_process(tmp_path: Path) -> None:
    """A model is written completely, whatever the fork server has initialised."""
    outcome = run_engine([{"convert": str(tmp_path / "out")}], environment(nvml=False))

    assert [[]] == outcome.results
    assert (tmp_path / "out" / "model_index.json").is_file()
    assert 1 == sum(CHANGES_TO_SPAWN in line for line in outcome.log)


@pytest.mark.slow
def test_a_bad_fork_without_an_accelerator_does_no_harm(tmp_path: Path) -> None:
    """Where the driver finds no device, as with a CUDA build on a machine without a GPU, workers are still forked."""
    outcome = run_engine(GENERATE, environment(tmp_path, nvml=False, devices=0))

    assert "cpu" == outcome.results[1][0]["device"]
    assert outcome.results[1][0]["pid"] in events(tmp_path, "bad fork")
    assert [] == [line for line in outcome.log if CHANGES_TO_SPAWN in line]
