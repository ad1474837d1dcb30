"""How many replicas a queue is worth."""

from __future__ import annotations

import pytest

from octabox.engine.ray.autoscale import desired_replicas


@pytest.mark.parametrize(
    ("waiting", "replicas", "run", "load", "maximum", "expected"),
    [
        (0, 0, 1, 10, 0, 0),
        (1, 0, 1, 10, 0, 1),
        (50, 0, 1, 10, 0, 1),  # What a call takes is not known yet.
        (9, 1, 1, 10, 0, 1),
        (25, 1, 1, 10, 0, 2),
        (25, 1, 4, 10, 0, 10),
        (25, 1, 4, 10, 3, 3),
        (3, 2, 1, 10, 0, 2),
        (25, 5, 4, 10, 3, 3),
        (25, 1, 0.01, 0, 0, 1),
    ],
)
def test_replicas(waiting: int, replicas: int, run: float, load: float, maximum: int, expected: int) -> None:
    """One more where the calls wait longer than it takes to load, within the limit, and never fewer for a queue."""
    found = desired_replicas(waiting=waiting, replicas=replicas, run_seconds=run, load_seconds=load, maximum=maximum)

    assert expected == found
