"""Models that take turns in memory leave nothing behind: the benchmark of 100 swaps reaches its targets."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "swaps.py"


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_a_hundred_swaps_leave_nothing() -> None:
    """Server and fork server keep their memory within 5 %; no worker, file or descriptor is left."""
    command = [sys.executable, str(BENCHMARK), "--swaps", "100"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1200, check=False)

    assert 0 == done.returncode, done.stdout + done.stderr
    assert "processes left   0" in done.stdout
