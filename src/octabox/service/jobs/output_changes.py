"""Change many outputs of background jobs together: mark them, or delete them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from octabox.errors import NotFoundError
from octabox.service.jobs.queue.job_queue import JobQueue
from octabox.service.jobs.record import MarkChange, Marks, StoredJob


@dataclass(frozen=True)
class OutputId:
    """An output of a background job.

    Args:
        job: Id of the job.
        index: Index of the output, from 0.
    """

    job: str
    index: int


@dataclass(frozen=True)
class OutputChanges:
    """What became of outputs.

    Args:
        changed: The marks of those that were changed.
        missing: Those that do not exist, or no longer.
    """

    changed: tuple[tuple[OutputId, Marks], ...]
    missing: tuple[OutputId, ...]


async def mark_outputs(queue: JobQueue, outputs: Sequence[OutputId], change: MarkChange) -> OutputChanges:
    """Change the marks of outputs.

    Raises:
        InvalidParameterError: An output would have too many tags; some may have been changed.
    """
    return await _mark_all(queue, await _find_jobs(queue, outputs), outputs, change)


async def _mark_all(
    queue: JobQueue, jobs: Mapping[str, StoredJob], outputs: Sequence[OutputId], change: MarkChange
) -> OutputChanges:
    """Change the marks of outputs of these jobs."""
    marks = await asyncio.gather(*(_mark(queue, jobs.get(each.job), each.index, change) for each in outputs))
    found = list(zip(outputs, marks, strict=True))
    return OutputChanges(
        tuple((each, after) for each, after in found if after is not None),
        tuple(each for each, after in found if after is None),
    )


async def delete_outputs(queue: JobQueue, outputs: Sequence[OutputId]) -> OutputChanges:
    """Delete outputs with their files; a job without any output left is deleted.

    Another request may delete others of the same jobs meanwhile, or the jobs, whose ids may be used again.
    """
    jobs = await _find_jobs(queue, outputs)
    changes = await _mark_all(queue, jobs, outputs, MarkChange(deleted=True))
    deleted = {each for each, _ in changes.changed}
    for name, current in (await _find_jobs(queue, deleted)).items():
        job = jobs[name]
        await queue.store.drop_files([file for each, file in enumerate(job.files) if OutputId(name, each) in deleted])
        if current.number == job.number and _is_empty(current):
            await queue.store.remove([current])
    return changes


def _is_empty(job: StoredJob) -> bool:
    """Return whether all outputs of a job are deleted."""
    indices = range(len(job.result.artifacts) if job.result else 0)
    return all(job.marks.get(each, Marks()).deleted for each in indices)


async def _find_jobs(queue: JobQueue, outputs: Iterable[OutputId]) -> dict[str, StoredJob]:
    """Return the jobs of outputs by id, as far as they exist and the request may see them."""
    ids = sorted({each.job for each in outputs})
    found = await asyncio.gather(*(queue.find(each) for each in ids), return_exceptions=True)
    for each in found:
        if isinstance(each, BaseException) and not isinstance(each, NotFoundError):
            raise each
    return {job.id: job for job in found if isinstance(job, StoredJob)}


async def _mark(queue: JobQueue, job: StoredJob | None, index: int, change: MarkChange) -> Marks | None:
    """Change the marks of an output and return them; None if it does not exist."""
    if job is None:
        return None
    try:
        return await queue.controls.mark(job, index, change)
    except NotFoundError:
        return None
