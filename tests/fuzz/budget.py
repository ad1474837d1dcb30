"""How long a fuzz test runs: a share of ``FUZZ_SECONDS``, which `make fuzz` sets."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.strategies import SearchStrategy

#: Seconds of all fuzz tests together.
SECONDS = float(os.environ.get("FUZZ_SECONDS", "60"))

#: Examples between two looks at the clock. They are the same in each run: a fault that CI finds, everybody finds.
EXAMPLES = 20


def fuzz(check: Callable[[Any], None], strategy: SearchStrategy[Any], share: float) -> int:
    """Check examples of a strategy until its time is over; return how many rounds there were.

    Args:
        check: Called with each example; raises for a fault. Hypothesis shrinks the example and prints it.
        strategy: What examples are drawn from.
        share: Part of `SECONDS`.
    """
    end = time.monotonic() + SECONDS * share
    for number in itertools.count():
        run = settings(
            max_examples=EXAMPLES,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.generate, Phase.shrink],
        )
        seed(number)(run(given(strategy)(check)))()
        if time.monotonic() > end:
            return number + 1
    raise AssertionError
