"""A stored job, what it is made of, and which jobs a list contains."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from octabox.service.jobs.job import Job, Status
from octabox.types import GenerationRequest

#: Kind of a job: the API that it was started by, whose ids and lists are separate.
Kind = Literal["generation", "video"]

#: Highest priority of a job; the lowest is its negative.
MAX_PRIORITY = 100


#: Limits of the tags of an output: their number, and the characters of one.
MAX_TAGS, MAX_TAG = 32, 64


@dataclass(frozen=True)
class Marks:
    """What a client has noted about an output.

    Args:
        star: Whether it has a star.
        tags: Its tags.
        deleted: Whether its file was deleted, while its job has other outputs.
    """

    star: bool = False
    tags: tuple[str, ...] = ()
    deleted: bool = False


@dataclass(frozen=True)
class MarkChange:
    """A change of the marks of an output.

    Args:
        star: Whether it has a star; None leaves that as it is.
        tags: Its tags; None leaves them as they are.
        added: Tags that it has in addition.
        deleted: Whether its file is deleted.
    """

    star: bool | None = None
    tags: tuple[str, ...] | None = None
    added: tuple[str, ...] = ()
    deleted: bool = False

    def apply(self, marks: Marks) -> Marks:
        """Return changed marks."""
        tags = tuple(dict.fromkeys((*(marks.tags if self.tags is None else self.tags), *self.added)))
        return Marks(marks.star if self.star is None else self.star, tags, marks.deleted or self.deleted)


@dataclass
class StoredJob(Job):
    """A job that is stored, so that it survives the end of the server.

    Args:
        kind: The API that it was started by.
        owner: Public name of the client.
        batch: Id of the batch that it was started with.
        priority: Jobs of a higher priority run first.
        number: Its number in the order in which jobs were accepted.
        place: Its place in the queue: the jobs of a client run in this order.
        started: When its run started, in seconds since the epoch; None while it waits, or its model is downloaded.
        attempts: How many runs have started.
        losses: How many runs have ended with the server.
        webhook: URL that is notified of its end.
        server: Id of the server that runs it.
        marks: The marks of its outputs by index; one without an entry has none.
    """

    kind: Kind = "generation"
    owner: str = ""
    batch: str | None = None
    priority: int = 0
    number: int = 0
    place: int = 0
    started: float | None = None
    attempts: int = 0
    losses: int = 0
    webhook: str | None = None
    server: str | None = None
    marks: Mapping[int, Marks] = field(default_factory=dict)


@dataclass(frozen=True)
class Submission:
    """A request to run in the background.

    Args:
        request: The request.
        kind: The API that it comes from.
        note: Data of the frontend, which is kept with the job.
        priority: Jobs of a higher priority run first.
        webhook: URL that is notified of its end.
    """

    request: GenerationRequest
    kind: Kind = "generation"
    note: Mapping[str, Any] = field(default_factory=dict)
    priority: int = 0
    webhook: str | None = None


@dataclass(frozen=True)
class Acceptance:
    """The jobs of a submission.

    Args:
        jobs: The jobs.
        replayed: Whether they were accepted before, with the same idempotency key.
    """

    jobs: tuple[StoredJob, ...]
    replayed: bool = False


@dataclass(frozen=True)
class JobQuery:
    """Which jobs a list contains; None is any.

    Args:
        kind: The API that they were started by.
        statuses: Their statuses; empty is any.
        model: Name of their model.
        owner: Public name of their client.
        client: Their client.
        batch: Id of their batch.
        ended_before: Only those that ended before this time, in seconds since the epoch.
        after: Only those that follow the job with this number.
        newest_first: Whether the last accepted one is the first.
        limit: Maximum number of jobs.
    """

    kind: Kind | None = None
    statuses: tuple[Status, ...] = ()
    model: str | None = None
    owner: str | None = None
    client: str | None = None
    batch: str | None = None
    ended_before: float | None = None
    after: int | None = None
    newest_first: bool = True
    limit: int | None = None


@dataclass(frozen=True)
class Delivery:
    """A webhook that is to be sent.

    Args:
        id: Its id, which is the same for each attempt.
        url: URL that it is sent to.
        body: The body.
        attempts: How often sending it has failed.
        due: When to send it, in seconds since the epoch.
    """

    id: str
    url: str
    body: str
    attempts: int = 0
    due: float = 0.0

    @property
    def origin(self) -> str:
        """The scheme and the host of its URL, as that states them."""
        return "/".join(self.url.split("/")[:3])


@dataclass(frozen=True)
class Notices:
    """The webhooks of the end of a job.

    Args:
        job: Its own one; None if it has none.
        batch: Returns that of its batch for a URL and the number of its jobs by status, which is sent to each URL that a job
            of it has, if none of them waits or runs any more.
        batch_id: Id of that batch; None if it is of none.
    """

    job: Delivery | None
    batch: Callable[[str, Mapping[str, int]], Delivery]
    batch_id: str | None = None
