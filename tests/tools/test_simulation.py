"""The simulated cluster, in a small run."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

import simulation
from simulated_policies import POLICIES, Octabox


def rows(seed: int) -> dict[str, list[str]]:
    """Return the cells of each policy in a run of a few minutes."""
    options = argparse.Namespace(devices=24, models=20, hours=0.15, peak=0.85)
    lines = [simulation.simulate(policy, options, seed) for policy in (Octabox, *POLICIES)]
    first, *others = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert first == others[0], "the same seed has another outcome"
    return {cells[1]: cells for cells in others}


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_small_cluster_is_ahead_of_the_baselines(seed: int) -> None:
    """All policies have the same traffic, and ours has the shortest waits, by far at p99.

    That no replica in use is unloaded, and no device holds too much, the cluster itself asserts.
    """
    found = rows(seed)
    p99, mean = ({name: float(cells[column].removesuffix(" s")) for name, cells in found.items()} for column in (4, 5))

    assert {"octabox", "least-loaded", "random", "LRU"} == set(found)
    assert 1 == len({cells[2] for cells in found.values()})
    assert p99.pop("octabox") < 0.7 * min(p99.values())
    assert mean.pop("octabox") < 0.7 * min(mean.values())


def test_the_command_prints_both_tables(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A row for each policy and seed, and one for each number of devices."""
    flags = ["--devices", "8", "--models", "4", "--hours", "0.02", "--seed", "1", "2", "--sizes", "10", "20"]
    monkeypatch.setattr(sys, "argv", ["simulation.py", *flags])
    simulation.main()
    lines = capsys.readouterr().out.splitlines()

    assert 8 == sum(line.startswith(("| 1 |", "| 2 |")) for line in lines)
    assert 2 == sum(" us |" in line for line in lines)
