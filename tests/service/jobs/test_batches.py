"""The state of a batch, by that of its jobs."""

from __future__ import annotations

import pytest

from octabox.service.jobs.batches import batch_status, request_counts


@pytest.mark.parametrize(
    ("counts", "status"),
    [
        ({"queued": 2}, "queued"),
        ({"queued": 1, "completed": 1}, "in_progress"),
        ({"in_progress": 1, "failed": 3}, "in_progress"),
        ({"completed": 1, "failed": 9, "cancelled": 1, "queued": 0}, "completed"),
        ({"failed": 1, "cancelled": 9}, "failed"),
        ({"cancelled": 2}, "cancelled"),
        ({}, "completed"),
    ],
)
def test_a_batch_has_the_status_of_its_best_end(counts: dict[str, int], status: str) -> None:
    """As soon as all of its jobs have ended; before that it waits, or is in progress."""
    assert status == batch_status(counts)


def test_all_statuses_are_counted() -> None:
    """Those without a job, too; clients need not know which may be missing."""
    counts = {"total": 3, "queued": 0, "in_progress": 0, "completed": 2, "failed": 1, "cancelled": 0}

    assert counts == request_counts({"failed": 1, "completed": 2})
