"""The simulated cluster, in a small run."""

from __future__ import annotations

import argparse
import random
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

import simulation
from simulated_cluster import NODE_DEVICES, NODE_LIFE, REPAIR_SECONDS, Cluster, Request, traffic, zipf_models
from simulated_policies import POLICIES, Octabox


def rows(seed: int) -> dict[str, list[str]]:
    """Return the cells of each policy in a run of a few minutes."""
    options = argparse.Namespace(devices=24, models=20, hours=0.15, peak=0.85, node_hours=24.0)
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


def failing_cluster(policy: type, seed: int, node_life: float) -> tuple[Cluster, list[Request]]:
    """Return a cluster after a run of six minutes, and the requests that it had."""
    rng, end, devices = random.Random(seed), 360.0, 24
    models, shares = zipf_models(12, rng)
    requests = list(traffic(models, shares, devices, end, 0.85, rng))
    cluster = Cluster(policy(), devices, end, seed, node_life)
    cluster.run(iter(requests))
    return cluster, requests


@pytest.mark.parametrize("policy", POLICIES)
def test_all_requests_are_answered_where_nodes_fail(policy: type) -> None:
    """Also those of a node that failed, and those that wait at the end; a wait counts once, up to the last start."""
    restarted = 0
    for seed in (1, 2, 3):
        cluster, requests = failing_cluster(policy, seed, node_life=400.0)
        counted = [each.started - each.arrived for each in requests if each.arrived >= 0.1 * cluster.end]

        assert cluster.failures > 0
        restarted += cluster.restarted
        assert len(requests) == cluster.requests == cluster.answered
        assert sorted(counted) == sorted(cluster.waits)
        assert min(counted) >= 0
        assert 0 < cluster.use <= 1
    assert restarted > 0


def test_failures_are_those_of_the_seed() -> None:
    """Each policy has the same ones, so that rows can be compared; a node fails again once it was repaired."""
    found = [failing_cluster(policy, 1, node_life=200.0)[0].failures for policy in POLICIES]
    one, rng = Cluster(Octabox(), NODE_DEVICES, 3600.0, 1, node_life=60.0), random.Random(1)
    one.run(traffic(*zipf_models(2, rng), NODE_DEVICES, 3600.0, 0.1, rng))

    assert 1 == len(set(found))
    assert found[0] > 0
    assert 2 <= one.failures <= 3600 / REPAIR_SECONDS
    assert one.requests == one.answered


def test_an_hour_of_a_thousand_devices_has_some_failures() -> None:
    """By default, a few in each run of that length, while most nodes have none."""
    nodes = 1000 / NODE_DEVICES

    assert 3 < nodes * 3600 / NODE_LIFE < 10


def test_the_command_prints_both_tables(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A row for each policy and seed, and one for each number of devices."""
    flags = ["--devices", "8", "--models", "4", "--hours", "0.02", "--seed", "1", "2", "--sizes", "10", "20"]
    monkeypatch.setattr(sys, "argv", ["simulation.py", *flags])
    simulation.main()
    lines = capsys.readouterr().out.splitlines()
    headings = next(line for line in lines if line.startswith("| seed |"))

    assert 8 == sum(line.startswith(("| 1 |", "| 2 |")) for line in lines)
    assert 2 == sum(" us |" in line for line in lines)
    assert headings.endswith("| failures | restarted |")
    assert {headings.count("|")} == {line.count("|") for line in lines if line.startswith(("| 1 |", "| 2 |"))}
