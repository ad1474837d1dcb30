"""The state of a batch, which is that of its jobs."""

from __future__ import annotations

from collections.abc import Mapping

from octabox.service.jobs.job import STATUSES, Status


def request_counts(counts: Mapping[str, int]) -> dict[str, int]:
    """Return how many requests a batch has, in all (``total``) and in each status; the words are those of OpenAI's batches.

    Args:
        counts: The number of its jobs by status; one without any may be missing.
    """
    by_status: dict[str, int] = {status: counts.get(status, 0) for status in STATUSES}
    return {"total": sum(by_status.values()), **by_status}


def batch_status(counts: Mapping[str, int]) -> Status:
    """Return the status of a batch.

    It is completed where a job is, as the others have their own errors, failed where none is and one has failed, and
    cancelled where all are. It is in progress from the start of its first job to the end of its last one.

    Args:
        counts: The number of its jobs by status; one without any may be missing.
    """
    found = {status for status in STATUSES if counts.get(status)}
    if found & {"queued", "in_progress"}:
        return "queued" if found == {"queued"} else "in_progress"
    ends: tuple[Status, ...] = ("completed", "failed", "cancelled")
    return next((status for status in ends if status in found), "completed")
