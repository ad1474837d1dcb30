"""Errors of background jobs."""

from __future__ import annotations

from octabox.errors import CapacityError, GenerationError, NotFoundError, QueueFullError, RequestError, WorkerDiedError


class JobStateError(RequestError):
    """A job is not in a state that allows the operation."""


class IdempotencyError(RequestError):
    """An idempotency key was used for another request before."""


class JobQuotaError(QueueFullError):
    """A client has as many background jobs as it may have."""


class JobStoreError(CapacityError):
    """The store of background jobs cannot be used."""


class UncertainCommitError(JobStoreError):
    """The database failed at the commit of a change, so that it is not known whether the change is stored."""


class JobLostError(JobStoreError):
    """A job, or a file of its request, is not in the store any more."""


class WorkerLostError(GenerationError):
    """The server, or the process of the model, ended several times while a job ran, which may be the cause."""


class OutputNotFoundError(NotFoundError):
    """A job has no output with this index."""


class ResultExpiredError(NotFoundError):
    """The result of a job was deleted, since the results of all jobs need more disk space than they may."""


def worker_lost(error: WorkerDiedError, model: str) -> WorkerLostError:
    """Return the error of a job whose workers have ended as often as they may.

    Args:
        error: How the last one ended.
        model: Name of the model.
    """
    hint = "The request may be the cause, such as by the memory that it needs. To run it again, retry it."
    return WorkerLostError(
        f"The worker of the model ended twice during the request: {error.message}", hint=hint, model=model
    )
