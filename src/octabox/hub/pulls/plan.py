"""Plan a download: which files of a repository are needed, how many bytes, and whether they fit on the disk."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import ModelInfo, constants

from octabox.errors import DownloadError
from octabox.hub.cache_layout import CachedRepo, RemoteFile, is_commit, stays_inside
from octabox.hub.limits import check_size
from octabox.hub.pulls.copies import actual_request, find_copy, missing_of, present_files
from octabox.hub.pulls.needed import PullRequest, match_files, needed_files
from octabox.hub.repository import repository_index
from octabox.hub.responses.errors import hub_error, no_revision
from octabox.hub.responses.fields import mapping_of, texts_of
from octabox.hub.responses.messages import (
    HUB_ERRORS,
    RESPONSE_ERRORS,
    Target,
    disk_full,
    hub_api,
    not_a_hub,
    offline_error,
    unsafe_file,
)
from octabox.hub.selection import SINGLE_FILE_KINDS, RepoKind, kind_of_repository, weight_names

#: Bytes that are left free on the disk.
RESERVE = 64 * 2**20

#: Codes of errors with which a model in the cache is used without the Hub.
UNAVAILABLE = frozenset(
    (
        "hub_unreachable",
        "hub_unavailable",
        "not_a_hub",
        "rate_limited",
        "connection_reset",
        "offline",
        "offline_incomplete",
    )
)


@dataclass(frozen=True)
class PullPlan:
    """What a download does.

    Args:
        request: What was requested.
        commit: Commit of the revision.
        kind: What the repository is.
        files: The files that are needed.
        all_files: All files of the commit; empty if the Hub was not available.
        free: Free bytes on the disk of the cache.
        note: Why the Hub was not used, if so.
    """

    request: PullRequest
    commit: str
    kind: RepoKind
    files: tuple[RemoteFile, ...]
    all_files: tuple[RemoteFile, ...] = ()
    free: int = 0
    note: str = ""

    @property
    def repo(self) -> CachedRepo:
        """The repository in the cache."""
        return CachedRepo(self.request.repo)

    @property
    def size(self) -> int:
        """Bytes of all needed files; files with the same content count once."""
        return sum({each.digest: each.size for each in self.files}.values())

    @property
    def missing(self) -> tuple[RemoteFile, ...]:
        """The files that are not in the cache, each content once."""
        lacking = {each.digest: each for each in self.files if not self.repo.has(each, self.commit)}
        return tuple(lacking.values())

    @property
    def present(self) -> int:
        """Bytes that need not be downloaded: of complete files, and of parts of others."""
        return self.size - sum(each.size - partial_size(self.repo, each) for each in self.missing)

    @property
    def to_fetch(self) -> int:
        """Bytes to download."""
        return self.size - self.present

    @property
    def skipped(self) -> int:
        """Bytes of the repository that are not needed."""
        return sum(each.size for each in self.all_files) - sum(each.size for each in self.files)

    @property
    def is_done(self) -> bool:
        """Whether all is in the cache: the files in the folder of the commit, their list, and the name of the revision."""
        is_named = self.repo.commit(self.request.revision) == self.commit
        is_listed = set(self.repo.tree(self.commit) or ()) == set(self.all_files)
        return is_named and is_listed and all((self.folder / each.path).exists() for each in self.files)

    @property
    def folder(self) -> Path:
        """Folder of the model in the cache."""
        return self.repo.snapshot(self.commit)

    def check_space(self) -> None:
        """Check that the files fit on the disk.

        Raises:
            DownloadError: They do not.
        """
        if self.to_fetch and self.to_fetch + RESERVE > self.free:
            raise disk_full(self.request.repo, self.to_fetch, self.free)


def partial_size(repo: CachedRepo, file: RemoteFile) -> int:
    """Return the bytes of a file that an interrupted download has left."""
    try:
        return min(repo.partial(file).stat().st_size, file.size)
    except OSError:
        return 0


def make_plan(request: PullRequest) -> PullPlan:
    """Return the plan of a download. Without the Hub, a complete model in the cache is used.

    Raises:
        ModelNotFoundError: The repository, the revision or the file does not exist.
        GatedModelError: The Hub requires an agreement or another token.
        DownloadError: The Hub cannot be reached, or responds with an error.
        InvalidParameterError: The variant does not exist, or a file must be selected.
    """
    try:
        if constants.HF_HUB_OFFLINE:
            raise _offline_error(request)
        return _plan_online(request)
    except DownloadError as error:
        reason = "The Hub is disabled by HF_HUB_OFFLINE." if (error.code or "").startswith("offline") else error.message
        if error.code in UNAVAILABLE and (plan := _plan_offline(request, reason)) is not None:
            return plan
        raise
    except OSError as error:  # A cache that cannot be read.
        raise hub_error(error, request.repo) from error


def _plan_online(request: PullRequest) -> PullPlan:
    """Return the plan by what the Hub has."""
    info = read_info(request.repo, request.revision)
    if info.sha is None or info.siblings is None:
        raise hub_error(KeyError("sha"), request.repo)
    if info.gated:
        _check_access(request)
    files = {each.path: each for each in map(remote_file, info.siblings)}
    commit = info.sha
    selected, kind = needed_files(request, files, info.tags or (), lambda: repository_index(request.repo, commit))
    needed = tuple(files[name] for name in selected)
    for file in needed:
        if not file.is_safe:
            raise unsafe_file(request.repo, file.path)
        check_size(f"{request.repo}/{file.path}", file.size)
    known = tuple(file for file in files.values() if file.is_safe)
    return PullPlan(request, commit, kind, needed, known, free_bytes())


def read_info(repo: str, revision: str | None = None) -> ModelInfo:
    """Return what the Hub knows about a repository, with the sizes and checksums of its files.

    Raises:
        OctaboxError: The repository cannot be read.
    """
    if revision is not None and not stays_inside(revision):
        raise no_revision(Target(repo, revision))
    try:
        info = hub_api().model_info(repo, revision=revision, files_metadata=True)
    except RESPONSE_ERRORS as error:
        raise hub_error(error, repo, revision) from error
    if info.sha is not None and not is_commit(info.sha):
        raise not_a_hub(repo)
    info.tags, info.config = texts_of(info.tags), dict(mapping_of(info.config))
    return info


def _check_access(request: PullRequest) -> None:
    """Check that the files of a gated repository may be read, of which the Hub shows the list to everybody."""
    try:
        hub_api().auth_check(request.repo)
    except HUB_ERRORS as error:
        raise hub_error(error, request.repo, request.revision) from error


def remote_file(sibling: Any) -> RemoteFile:
    """Return a file of the Hub's list."""
    lfs = sibling.lfs
    if lfs is not None:
        return RemoteFile(sibling.rfilename, int(lfs.size), str(lfs.sha256))
    return RemoteFile(sibling.rfilename, int(sibling.size or 0), str(sibling.blob_id))


def _plan_offline(request: PullRequest, reason: str) -> PullPlan | None:
    """Return a plan without downloads for what is complete in the cache; None if it is not."""
    commit = CachedRepo(request.repo).commit(request.revision)
    if commit is None:
        return None
    part = actual_request(request, commit)
    if find_copy(part) is not None:
        kind: RepoKind = "component" if part.is_part else "diffusers"
        files: tuple[RemoteFile, ...] = ()
    elif (found := None if request.is_part else _cached_file(request, commit)) is not None:
        kind, files = found[0], (found[1],)
    else:
        return None
    note = f"{reason} The copy in the cache is used."
    return PullPlan(request, commit, kind, files, free=free_bytes(), note=note)


def _cached_file(request: PullRequest, commit: str) -> tuple[RepoKind, RemoteFile] | None:
    """Return the requested file, or the only one of a repository of single files, with its kind; None if it is not there."""
    folder = CachedRepo(request.repo).snapshot(commit)
    present = present_files(folder)
    tree = {each.path: each for each in CachedRepo(request.repo).tree(commit) or []}
    names = {**tree, **dict.fromkeys(present)}
    if request.file is not None:
        found = match_files(request.file, names)
        kind: RepoKind = "checkpoint"
    else:
        found, kind = weight_names(present), kind_of_repository(names)
        found = found if kind in SINGLE_FILE_KINDS else []
    if len(found) != 1 or found[0] not in present:
        return None
    name = found[0]
    return kind, tree.get(name) or RemoteFile(name, (folder / name).stat().st_size, "")


def _offline_error(request: PullRequest) -> DownloadError:
    """Return the error for a model that is not complete in the cache."""
    commit = CachedRepo(request.repo).commit(request.revision)
    if commit is None or not CachedRepo(request.repo).snapshot(commit).is_dir():
        error = offline_error(request.repo)
    else:
        lacking = missing_of(request)
        error = offline_error(request.repo, lacking)
    assert isinstance(error, DownloadError)  # noqa: S101 (as `offline_error` makes it)
    return error


def free_bytes(folder: Path | None = None) -> int:
    """Return the free bytes on the disk of a folder, which need not exist yet.

    Args:
        folder: The folder; by default the cache of the Hub.
    """
    folder = Path(constants.HF_HUB_CACHE) if folder is None else folder.absolute()
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free
