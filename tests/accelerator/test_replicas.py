"""A model on two devices of one machine, in real workers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from accelerator.engine_run import run_engine
from accelerator.test_forkserver import environment


@pytest.mark.slow
def test_eight_callers_of_one_model_use_two_devices(tmp_path: Path) -> None:
    """Replicas on both devices run calls at the same time, in processes of their own, with the same results."""
    steps: list[dict[str, Any]] = [{"callers": 8, "replicas": 2}, {"callers": 8, "replicas": 2}, {"status": None}]
    outcome = run_engine(steps, environment(tmp_path, devices=2))
    first, second, (status,) = outcome.results

    assert 1 == len({*first["digests"], *second["digests"]})
    assert 2 == second["busy"]
    assert {"fake:0", "fake:1"} == {each["device"] for each in status["replicas"]}
    assert 2 == len({each["pid"] for each in status["replicas"]})
