"""Carry out a plan: download the missing files together, and link them as huggingface_hub does."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx
from huggingface_hub import constants, get_token, hf_hub_url
from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined] # imported lazily there

from octabox.hub.cache_layout import RemoteFile
from octabox.hub.pulls.locks import file_lock
from octabox.hub.pulls.plan import PullPlan, partial_size
from octabox.hub.pulls.transfer import Transfer, same_origin
from octabox.hub.responses.errors import hub_error
from octabox.hub.responses.messages import Target

#: Files that are downloaded at the same time.
PARALLEL = 4


@dataclass(frozen=True)
class PullProgress:
    """The progress of a download.

    Args:
        done: Bytes that are on the disk.
        total: Bytes of all needed files.
        files_done: Number of complete files.
        files: Number of needed files.
    """

    done: int
    total: int
    files_done: int
    files: int


async def pull(plan: PullPlan, report: Callable[[PullProgress], None] = lambda _: None) -> Path:
    """Download the missing files of a plan, and return the folder of the model; cancelling keeps what was received.

    Args:
        plan: The plan.
        report: Called with the progress.

    Raises:
        OctaboxError: A file cannot be downloaded, or the disk is full.
    """
    if plan.note:
        return plan.folder
    if plan.is_done:  # Also in a cache that cannot be written.
        count = len({each.digest for each in plan.files})
        report(PullProgress(plan.size, plan.size, count, count))
        return plan.folder
    plan.check_space()
    with plan.repo.in_use():
        try:
            plan.repo.prepare(plan.commit)
            plan.repo.write_tree(plan.commit, plan.all_files)
            await _Pull(plan, report).run()
            # The last step, so that an interrupted update leaves the earlier commit in use.
            plan.repo.set_revision(plan.request.revision, plan.commit)
        except OSError as error:
            raise hub_error(error, plan.request.repo) from error
    return plan.folder


class _Pull:
    """A download in progress."""

    def __init__(self, plan: PullPlan, report: Callable[[PullProgress], None]) -> None:
        self._plan, self._report = plan, report
        missing = {each.digest for each in plan.missing}
        self._sizes = {each.digest: 0 if each.digest in missing else each.size for each in plan.files}
        self._complete = {each.digest for each in plan.files} - missing
        self._room = asyncio.Semaphore(PARALLEL)

    async def run(self) -> None:
        """Download all files; the first error ends all downloads."""
        self._publish()
        timeout = httpx.Timeout(constants.HF_HUB_DOWNLOAD_TIMEOUT, pool=None)
        async with httpx.AsyncClient(timeout=timeout) as client:
            transfer = Transfer(client, hub_headers)
            tasks = [asyncio.create_task(self._fetch(transfer, each)) for each in self._plan.missing]
            try:
                await asyncio.gather(*tasks)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
        left = Counter(each.digest for each in self._plan.files)
        for file in self._plan.files:
            left[file.digest] -= 1
            self._plan.repo.link(file, self._plan.commit, keep=left[file.digest] > 0)

    async def _fetch(self, transfer: Transfer, file: RemoteFile) -> None:
        """Download a file, unless another process does so."""
        repo, request = self._plan.repo, self._plan.request
        target = Target(request.repo, request.revision, file.path)
        url = hf_hub_url(request.repo, file.path, revision=self._plan.commit)

        def report(size: int) -> None:
            self._sizes[file.digest] = size
            self._publish()

        async with self._room, file_lock(repo.lock(file), lambda: report(partial_size(repo, file))):
            if not repo.blob(file).exists():
                await transfer.download(url, file, repo.partial(file), target, report)
                repo.partial(file).replace(repo.blob(file))
        self._complete.add(file.digest)
        report(file.size)

    def _publish(self) -> None:
        self._report(PullProgress(sum(self._sizes.values()), self._plan.size, len(self._complete), len(self._sizes)))


def hub_headers(url: str) -> Mapping[str, str]:
    """Return the headers for a URL: the token goes to the Hub alone, not to the hosts that it redirects to."""
    token = get_token() if same_origin(url, constants.ENDPOINT) else None
    return {str(name): str(value) for name, value in build_hf_headers(token=token or False).items()}
