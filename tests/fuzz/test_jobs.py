"""Background jobs through their whole life: operations of clients and ends of servers in any order."""

from __future__ import annotations

import itertools
import time

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from fuzz.budget import SECONDS
from fuzz.job_machine import JobMachine

pytestmark = pytest.mark.filterwarnings("default")

#: Operations of one life.
STEPS = 30


def run_lives(number: int, lives: int) -> None:
    """Run some lives; the same number runs the same ones."""
    run = settings(
        max_examples=lives,
        stateful_step_count=STEPS,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink],
    )
    # Hypothesis reads the seed of the class.
    run_state_machine_as_test(seed(number)(type("Jobs", (JobMachine,), {})), settings=run)


def test_some_lives_of_jobs() -> None:
    """A few of them, in seconds."""
    run_lives(0, lives=2)


@pytest.mark.slow
def test_many_lives_of_jobs() -> None:
    """Others, until the time is over."""
    end = time.monotonic() + 0.15 * SECONDS
    for number in itertools.count(1):
        run_lives(number, lives=20)
        if time.monotonic() > end:
            return
