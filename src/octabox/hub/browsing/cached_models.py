"""The models in the Hub's cache: their sizes, whether they are complete, and their removal."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from huggingface_hub import CachedRepoInfo, CachedRevisionInfo, HFCacheInfo, constants, scan_cache_dir
from huggingface_hub.errors import CacheNotFound

from octabox.errors import ForbiddenPathError, ModelNotFoundError, nearest
from octabox.hub.browsing.deletion import carry_out, deleting, in_use_error
from octabox.hub.cache_layout import CachedRepo, repository_of
from octabox.hub.folder import index_file, is_hub_id, read_index
from octabox.hub.pulls.copies import missing_of, present_files
from octabox.hub.pulls.links import kind_of_file
from octabox.hub.pulls.needed import PullRequest
from octabox.hub.selection import RepoKind, kind_of_repository, weight_names


@dataclass(frozen=True)
class StoredModel:
    """A model on the disk.

    Args:
        name: Its id; of a file or folder, its name there.
        kind: What it is.
        size: Bytes on the disk, with the parts of interrupted downloads.
        shared: Bytes of files that several of its revisions have; of a link into the cache, all that it leads to.
        last_used: When it was last read, in seconds since the epoch.
        revisions: Names and commits of its revisions.
        complete: Whether the default branch, or else the only revision, is complete.
        missing: Files that it lacks.
        folder: Folder of that revision.
        where: ``cache``, ``folder``, or ``link`` for a link in a folder.
        source: The repository that a link leads to.
    """

    name: str
    kind: RepoKind
    size: int
    shared: int
    last_used: float
    revisions: tuple[str, ...]
    complete: bool
    missing: tuple[str, ...]
    folder: str
    where: str = "cache"
    source: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON data."""
        return asdict(self)


@dataclass(frozen=True)
class Removal:
    """What the removal of a model deletes.

    Args:
        name: Its id.
        revision: The revision; None is the complete model.
        commits: The commits.
        freed: Bytes that are freed.
        links: Links to its files in the folders of models, LoRAs and embeddings.
        files: Single files that are deleted, if the repository is not; of a name of a commit, the file of the name.
        kept: Other names of the commit of a revision, with which its files are kept.
    """

    name: str
    revision: str | None
    commits: tuple[str, ...]
    freed: int
    links: tuple[str, ...]
    files: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON data."""
        return asdict(self)


def cached_models() -> list[StoredModel]:
    """Return the models in the cache, sorted by name.

    Raises:
        ForbiddenPathError: The cache cannot be read.
    """
    with reading_cache():
        models = {repo.repo_id: _describe(repo) for repo in _scan().repos if repo.repo_type == "model"}
    return [models[name] for name in sorted(models, key=str.lower)]


def plan_removal(name: str, folders: Iterable[Path] = (), removed: Collection[str] = ()) -> Removal:
    """Return what the removal of a model deletes.

    Args:
        name: Its id, with @REVISION for one revision of it.
        folders: Folders that may have links to its files.
        removed: Files that are removed before.

    Raises:
        ModelNotFoundError: It is not in the cache.
    """
    repo_id, _, revision = name.partition("@")
    cache = _scan()
    repo = next((each for each in cache.repos if each.repo_id == repo_id and each.repo_type == "model"), None)
    if repo is None:
        partial = CachedRepo(repo_id).folder
        if not revision and is_hub_id(repo_id) and partial.is_dir():  # An interrupted download has no revision yet.
            return Removal(repo_id, None, (), _folder_size(partial), ())
        names = [each.repo_id for each in cache.repos]
        hint = (
            f"Did you mean {like[0]}?" if (like := nearest(repo_id, names)) else "`octabox models` lists what is there."
        )
        raise ModelNotFoundError(f"{repo_id} is not in the cache.", hint=hint, model=repo_id, choices=names)
    commits = {each.commit_hash for each in repo.revisions}
    if revision:
        commits = {_find_revision(repo, revision).commit_hash}
        if kept := _other_names(repo, revision, removed):
            return Removal(repo_id, revision, (), 0, (), (str(_ref(repo, revision)),), kept)
    freed = int(_of_one(cache, repo).delete_revisions(*commits).expected_freed_size)
    everything = len(commits) == len(repo.revisions)
    if everything:
        freed += _partial_size(repo.repo_path)
    places = [repo.repo_path] if everything else [repo.repo_path / "snapshots" / each for each in commits]
    links = sorted(str(link) for folder in folders for link in _links_to(places, folder))
    return Removal(repo_id, revision or None, tuple(sorted(commits)), freed, tuple(links))


def _find_revision(repo: CachedRepoInfo, revision: str) -> CachedRevisionInfo:
    """Return a revision of a model in the cache, by its name or its commit.

    Raises:
        ModelNotFoundError: It is not there.
    """
    for each in repo.revisions:
        if revision in each.refs or each.commit_hash == revision:
            return each
    choices = [name for each in repo.revisions for name in (*each.refs, each.commit_hash)]
    message, hint = f"{repo.repo_id} has no revision {revision!r} in the cache.", f"It has: {', '.join(choices)}."
    raise ModelNotFoundError(message, hint=hint, model=repo.repo_id, choices=choices)


def _other_names(repo: CachedRepoInfo, revision: str, removed: Collection[str]) -> tuple[str, ...]:
    """Return the other names of the commit that a branch or tag names; none for a commit, whose names all go with it."""
    names = {name for each in repo.revisions if revision in each.refs for name in each.refs}
    return tuple(sorted(each for each in names - {revision} if str(_ref(repo, each)) not in removed))


def _ref(repo: CachedRepoInfo, name: str) -> Path:
    """Return the file of a branch or tag."""
    return repo.repo_path / "refs" / name


def remove_model(removal: Removal) -> None:
    """Delete a model or a revision of it from the cache, and the links to it.

    Raises:
        InvalidParameterError: It is in use by a process.
        ForbiddenPathError: A file cannot be deleted.
    """
    repo = CachedRepo(removal.name)
    with deleting(removal.name):
        descriptor = repo.claim()
        if descriptor is None:
            raise in_use_error(removal.name)
        try:
            for each in (*removal.links, *removal.files):
                Path(each).unlink(missing_ok=True)
            if removal.revision is None:
                # Deletes the parts of interrupted downloads as well.
                shutil.rmtree(repo.folder)
            elif removal.commits:
                cache = _scan()
                one = next(each for each in cache.repos if each.repo_id == removal.name and each.repo_type == "model")
                carry_out(_of_one(cache, one).delete_revisions(*removal.commits))
        finally:
            os.close(descriptor)


def _scan() -> HFCacheInfo:
    """Return what is in the cache.

    Raises:
        ForbiddenPathError: It cannot be read.
    """
    try:
        with reading_cache():
            return scan_cache_dir(constants.HF_HUB_CACHE)
    except (CacheNotFound, ValueError):
        return HFCacheInfo(0, frozenset(), frozenset(), [])


@contextlib.contextmanager
def reading_cache() -> Iterator[None]:
    """Turn an error of the file system within the context into one with the path."""
    try:
        yield
    except OSError as error:
        message = f"The cache cannot be read: {error.filename or constants.HF_HUB_CACHE}: {error.strerror or error}."
        hint = "Check the permissions, or set HF_HOME to a folder that this user can read."
        raise ForbiddenPathError(message, hint=hint) from error


def _of_one(cache: HFCacheInfo, repo: CachedRepoInfo) -> HFCacheInfo:
    """Return the cache with one repository: copies of a repository on the Hub may have the same commits."""
    return replace(cache, repos=frozenset({repo}))


def _describe(repo: CachedRepoInfo) -> StoredModel:
    """Return what is known about a model in the cache."""
    cached = CachedRepo(repo.repo_id)
    by_commit = {each.commit_hash: each for each in repo.revisions}
    commit = cached.commit()
    revision = by_commit.get(commit or "") or max(repo.revisions, key=lambda each: each.last_modified, default=None)
    names = {each: ", ".join(sorted(info.refs)) or each[:8] for each, info in by_commit.items()}
    counts = Counter(file.blob_path for each in repo.revisions for file in each.files)
    sizes = {file.blob_path: file.size_on_disk for each in repo.revisions for file in each.files}
    folder = revision.snapshot_path if revision else repo.repo_path
    kind, missing = state_of(repo.repo_id, revision.commit_hash if revision else "", folder)
    partial = _partial_size(repo.repo_path)
    return StoredModel(
        name=repo.repo_id,
        kind=kind,
        size=int(repo.size_on_disk) + partial,
        shared=sum(size for blob, size in sizes.items() if counts[blob] > 1),
        last_used=repo.last_accessed,
        revisions=tuple(sorted(names.values())),
        complete=not missing and not (partial and kind != "diffusers"),
        missing=missing,
        folder=str(folder),
    )


def state_of(repo_id: str, commit: str, folder: Path) -> tuple[RepoKind, tuple[str, ...]]:
    """Return what a revision is, and what it lacks."""
    present = set(present_files(folder))
    tree = {each.path for each in CachedRepo(repo_id).tree(commit) or []}
    kind = kind_of_repository(tree | present)
    if kind in ("diffusers", "component"):
        return kind, missing_of(PullRequest(repo_id, commit))
    found = weight_names(present)
    if kind in ("checkpoint", "other") and len(found) == 1:
        kind = kind_of_file(folder / found[0], kind)
    return kind, () if found else tuple(weight_names(tree))[:1]


def component_names(folder: Path) -> dict[str, str]:
    """Return the class of each component of a model folder, as its index names them."""
    file = index_file(folder)
    index = read_index(file, str(file)) if file else {}
    return {
        name: str(each[1])
        for name, each in index.items()
        if not name.startswith("_") and isinstance(each, list) and len(each) > 1 and each[1]
    }


def _partial_size(folder: Path) -> int:
    """Return the bytes of interrupted downloads."""
    return sum(each.stat().st_size for each in (folder / "blobs").glob("*.incomplete"))


def _folder_size(folder: Path) -> int:
    """Return the bytes of all files in a folder."""
    return sum(each.lstat().st_size for each in folder.rglob("*") if each.is_file())


def _links_to(places: Iterable[Path], folder: Path) -> list[Path]:
    """Return the links in a folder that lead into one of these places."""
    roots = [os.path.realpath(each) for each in places]
    links = [each for each in folder.rglob("*") if each.is_symlink()] if folder.is_dir() else []
    found = []
    for link in links:
        target = os.path.abspath(link.parent / link.readlink())  # noqa: PTH100 (links inside the cache are not followed)
        if any(Path(os.path.realpath(Path(target).parent)).is_relative_to(root) for root in roots) or (
            (repo := repository_of(link)) is not None and os.path.realpath(repo.folder) in roots
        ):
            found.append(link)
    return found
