"""Downloads in the background: each is started once, even if several clients request it, and kept for a while after its end."""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from octabox.errors import DownloadError, GenerationNotFoundError, OctaboxError
from octabox.hub.pulls.links import ModelFolders, check_name
from octabox.hub.pulls.needed import PullRequest
from octabox.hub.pulls.plan import PullPlan, make_plan
from octabox.hub.pulls.pull import PullProgress, pull
from octabox.hub.pulls.threads import run_in_own_loop
from octabox.hub.pulls.urls import UrlRequest, file_guard, pull_url
from octabox.hub.selection import RepoKind
from octabox.security.urls import UrlGuard
from octabox.service.hub.registration import check_plan, check_url, register_download, register_plan

logger = logging.getLogger("octabox.hub")

#: Seconds between two reports of a download.
INTERVAL = 0.2

#: Maximum number of ended downloads that are kept.
MAX_ENDED = 100

#: Status of a download; the last three are final.
PullStatus = Literal["queued", "in_progress", "completed", "failed", "cancelled"]


@dataclass
class PullJob:
    """A download, from its start until it is forgotten.

    Args:
        request: What is downloaded.
        name: Name to use it by.
        created: When it was started, in seconds since the epoch.
        kept: Whether it goes on when nobody follows it.
        id: Its id.
        status: Its status.
        plan: Its plan, once it is known.
        progress: Its progress, once it has begun.
        rate: Received bytes in each second.
        error: The error that it ended with.
        ended: When it ended, in seconds since the epoch.
        path: Folder of the model, or the link to it.
        kind: What a file that was downloaded by URL is.
        closing: Whether it is being cancelled.
    """

    request: PullRequest | UrlRequest
    name: str | None = None
    created: float = field(default_factory=time.time)
    kept: bool = True
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    status: PullStatus = "queued"
    plan: PullPlan | None = None
    progress: PullProgress | None = None
    rate: float = 0.0
    error: OctaboxError | None = None
    ended: float | None = None
    path: Path | None = None
    kind: RepoKind | None = None
    closing: bool = False
    followers: int = 0
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    _began: tuple[float, int] | None = None

    def advance(self, progress: PullProgress) -> None:
        """Record progress."""
        now = time.monotonic()
        self._began = self._began or (now, progress.done)
        seconds = now - self._began[0]
        self.rate = max(0.0, (progress.done - self._began[1]) / seconds) if seconds else 0.0
        self.progress = progress
        self.publish()

    def publish(self) -> None:
        """Wake the followers."""
        self.changed.set()
        self.changed = asyncio.Event()


class Pulls:
    """The downloads of a server.

    Args:
        folders: The folders that single files are linked into.
        url_folder: Folder of files that are downloaded by URL; None allows none.
        guard: Checks the addresses of URLs; by default only public ones are allowed.
    """

    def __init__(self, folders: ModelFolders, url_folder: Path | None = None, guard: UrlGuard | None = None) -> None:
        self._folders, self._url_folder, self._guard = folders, url_folder, guard or file_guard()
        self._jobs: dict[str, PullJob] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def start(self, request: PullRequest | UrlRequest, name: str | None = None, *, kept: bool = True) -> PullJob:
        """Start a download, or return the running one of the same files, unless that is being cancelled.

        Args:
            request: What to download.
            name: Name to use it by.
            kept: Whether it goes on when nobody follows it.

        Raises:
            InvalidParameterError: The name cannot be that of a model, or a URL has no checksum or names no weight file.
            ForbiddenUrlError: A URL is not of https.
        """
        check_name(name)
        if isinstance(request, UrlRequest):
            request.check(self._guard)
        running = (job for job in self._jobs.values() if job.id in self._tasks and not job.closing)
        job = next((job for job in running if job.request == request and name in (None, job.name)), None)
        if job is None:
            job = PullJob(request, name, kept=kept)
            self._jobs[job.id] = job
            self._tasks[job.id] = asyncio.create_task(self._run(job), name=f"pull {request.repo}")
            self._forget_old()
        job.kept = job.kept or kept
        return job

    async def follow(self, job: PullJob) -> AsyncGenerator[PullJob, None]:
        """Yield a download whenever it has changed, the last time at its end."""
        job.followers += 1
        try:
            while True:
                changed, ended = job.changed, job.ended is not None
                yield job
                if ended:
                    return
                await changed.wait()
        finally:
            job.followers -= 1
            if not job.kept and not job.followers:
                await self.cancel(job)

    def find(self, job_id: str) -> PullJob:
        """Return a download.

        Raises:
            GenerationNotFoundError: There is none with this id.
        """
        if job_id not in self._jobs:
            hint = "GET /v1/hub/pulls lists those of this server."
            raise GenerationNotFoundError(f"There is no download '{job_id}'.", hint=hint, parameter="id")
        return self._jobs[job_id]

    def list(self) -> list[PullJob]:
        """Return all downloads, the oldest first."""
        return [*self._jobs.values()]

    async def cancel(self, job: PullJob) -> None:
        """Cancel a download, and wait for its end; what was received is kept."""
        task = self._tasks.get(job.id)
        if task is not None and task is not asyncio.current_task():
            # A new request starts another download, which waits for the end of this one and goes on with its files.
            job.closing = True
            task.cancel()
            await asyncio.wait({task})
            if job.ended is None:  # The task was cancelled before it started.
                self._end(job, "cancelled")

    async def close(self) -> None:
        """Cancel all downloads."""
        await asyncio.gather(*(self.cancel(job) for job in self.list()))

    async def _run(self, job: PullJob) -> None:
        """Run a download, and record its end."""
        try:
            if isinstance(job.request, UrlRequest):
                await self._pull_url(job, job.request)
            else:
                await self._pull(job, job.request)
            self._end(job, "completed")
        except asyncio.CancelledError:
            # The caller of `cancel` waits for the end of this task alone.
            self._end(job, "cancelled")
        except OctaboxError as error:
            self._end(job, "failed", error)
        except Exception:
            logger.exception("The download of %s failed", job.request.repo)
            message = (
                f"{job.request.repo} could not be downloaded because of an internal error; see the log of the server."
            )
            self._end(job, "failed", DownloadError(message, model=job.request.repo))

    async def _pull(self, job: PullJob, request: PullRequest) -> None:
        """Download from the Hub, and make the model available under its name."""
        plan = job.plan = await asyncio.to_thread(make_plan, request)
        await asyncio.to_thread(check_plan, plan, self._folders, job.name)
        job.status = "in_progress"
        job.publish()
        report = _reporter(job)
        job.path = await run_in_own_loop(lambda: pull(plan, report))
        found = await asyncio.to_thread(register_plan, plan, self._folders, job.name)
        job.path = found.path if found else job.path

    async def _pull_url(self, job: PullJob, request: UrlRequest) -> None:
        """Download a file by its URL, and link it into the folder of its kind."""
        if self._url_folder is None:
            raise DownloadError("This server has no folder for files that are downloaded by URL.")
        await asyncio.to_thread(check_url, request, self._url_folder, self._folders, job.name)
        job.status = "in_progress"
        job.publish()
        folder, report = self._url_folder, _reporter(job)

        def show(done: int, total: int) -> None:
            report(PullProgress(done, total, int(done == total), 1))

        file = await run_in_own_loop(lambda: pull_url(request, folder, show, self._guard))
        size = file.stat().st_size
        job.progress = PullProgress(size, size, 1, 1)
        found = await asyncio.to_thread(register_download, file, self._folders, job.name)
        job.kind, job.path = found.kind, found.path

    def _end(self, job: PullJob, status: PullStatus, error: OctaboxError | None = None) -> None:
        """Record the end of a download."""
        job.status, job.error, job.ended = status, error, time.time()
        self._tasks.pop(job.id, None)
        job.publish()

    def _forget_old(self) -> None:
        """Forget the oldest downloads if there are too many."""
        ended = [job.id for job in self._jobs.values() if job.ended is not None]
        for job_id in ended[: max(0, len(ended) - MAX_ENDED)]:
            del self._jobs[job_id]


def _reporter(job: PullJob) -> Callable[[PullProgress], None]:
    """Return a function for the thread of a download, which reports its progress at intervals."""
    loop, last = asyncio.get_running_loop(), 0.0

    def report(progress: PullProgress) -> None:
        nonlocal last
        if progress.done == progress.total or time.monotonic() - last >= INTERVAL:
            last = time.monotonic()
            loop.call_soon_threadsafe(job.advance, progress)

    return report
