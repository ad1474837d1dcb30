"""What is learned of a model from its requests."""

from __future__ import annotations

import pytest

from octabox.engine.cluster.demand import WINDOW, LearnedDemand


def test_the_rate_is_that_of_the_requests() -> None:
    """Regular requests have their rate after some time, which falls while none arrives."""
    learned = LearnedDemand()
    for number in range(4000):
        learned = learned.with_arrival(number * 5.0)

    assert 0.2 == pytest.approx(learned.at(20000).rate, rel=0.02)
    assert 0.2 / 2.718 == pytest.approx(learned.at(20000 + WINDOW).rate, rel=0.02)


def test_times_are_averaged() -> None:
    """The first measured time replaces the assumption, later ones change it by a share."""
    learned = LearnedDemand().with_run(8).with_load(40)
    assert (8, 40) == (learned.costs.run_seconds, learned.costs.load_seconds)
    for _ in range(30):
        learned = learned.with_run(2).with_load(20)

    assert 2 == pytest.approx(learned.costs.run_seconds, rel=0.1)
    assert 20 == pytest.approx(learned.costs.load_seconds, rel=0.1)
