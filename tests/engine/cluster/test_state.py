"""What is learned of a model from its requests."""

from __future__ import annotations

import pytest

from octabox.engine.cluster.state import WINDOW, LearnedDemand


def test_the_rate_is_that_of_the_requests() -> None:
    """Regular requests have their rate after some time, which falls while none arrives."""
    learned = LearnedDemand()
    for number in range(4000):
        learned = learned.with_arrival(number * 5.0)

    assert 0.2 == pytest.approx(learned.at(20000).rate, rel=0.02)
    assert 0.2 / 2.718 == pytest.approx(learned.at(20000 + WINDOW).rate, rel=0.02)


def test_a_rate_is_known_before_the_window_is_full() -> None:
    """A few minutes of regular requests show their rate, where a sum over the whole window would show a fraction of it."""
    learned = LearnedDemand()
    for number in range(60):
        learned = learned.with_arrival(number * 5.0)

    assert 0.08 < learned.at(300).rate < 0.2
    assert 0 == LearnedDemand().at(300).rate
    assert LearnedDemand().with_arrival(0).at(0).rate < 1 / 200  # One request alone does not show a high rate.


def test_times_are_averaged() -> None:
    """The first measured time replaces the assumption, later ones change it by a share."""
    learned = LearnedDemand().with_run(8).with_load(40)
    assert (8, 40) == (learned.costs.run_seconds, learned.costs.load_seconds)
    for _ in range(30):
        learned = learned.with_run(2).with_load(20)

    assert 2 == pytest.approx(learned.costs.run_seconds, rel=0.1)
    assert 20 == pytest.approx(learned.costs.load_seconds, rel=0.1)
