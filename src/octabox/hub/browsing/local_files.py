"""The models, LoRAs and embeddings in the folders of this machine: their sizes, whether they are complete, and their removal.

Only what Octabox has downloaded is removed: links into the Hub's cache and to files that were downloaded by URL.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

from huggingface_hub import constants, scan_cache_dir

from octabox.errors import InvalidParameterError, OctaboxError
from octabox.hub.adapters.adapter_file import SUFFIXES, check_lora, read_embedding
from octabox.hub.browsing.cached_models import Removal, StoredModel, plan_removal
from octabox.hub.browsing.deletion import carry_out, deleting, in_use_error
from octabox.hub.cache_layout import CachedRepo, repository_of
from octabox.hub.checkpoints.tensors import read_shapes
from octabox.hub.files_in_use import claim_file
from octabox.hub.folder import CHECKPOINT_SUFFIXES, folder_index, index_file
from octabox.hub.pulls.links import ModelFolders, kind_of_file
from octabox.hub.pulls.urls import delete_url_file
from octabox.hub.selection import RepoKind, weight_names
from octabox.hub.snapshots import missing_by_index


def local_models(folders: ModelFolders) -> list[StoredModel]:
    """Return what is in the folders of models, LoRAs and embeddings, sorted by name. Only headers of files are read."""
    return [_describe(*each) for each in _entries(folders)]


def plan_local_removal(
    name: str, folders: ModelFolders, url_folder: Path, removed: Collection[str] = ()
) -> Removal | None:
    """Return what the removal of a downloaded file deletes; None if no folder has the name.

    Args:
        name: Its name in its folder.
        folders: The folders.
        url_folder: Folder of the files that were downloaded by URL.
        removed: Links and files that are removed before.

    Raises:
        InvalidParameterError: Several files have the name, or it was not downloaded by Octabox.
    """
    found = [place for known, _, place in _entries(folders) if name in (known, place.name)]
    if not found:
        return None
    if len(found) > 1:
        places = ", ".join(map(str, found))
        message = f"Several files have the name {name!r}: {places}."
        raise InvalidParameterError(message, hint="Specify the Hub id of its repository.", model=name)
    (place,) = found
    if str(place) in removed or (place.is_symlink() and not place.exists()):
        return Removal(name, None, (), 0, (str(place),))
    target = Path(os.path.realpath(place))
    if place.is_symlink() and (repo := repository_of(place)) is not None:
        return _cached_removal(name, place, target, repo, folders, removed)
    if place.is_symlink() and target.parent.parent == Path(os.path.realpath(url_folder)):
        return _url_removal(name, place, target, folders, removed)
    message = f"{place} was not downloaded by Octabox, so it is not removed."
    raise InvalidParameterError(message, hint=f"Delete it: rm -r {shlex.quote(str(place))}", model=name)


def remove_local(removal: Removal) -> None:
    """Delete a downloaded file and the link to it, as `plan_local_removal` has planned.

    Raises:
        InvalidParameterError: It is in use by a process.
        ForbiddenPathError: A file cannot be deleted.
    """
    targets = [Path(each) for each in removal.files]
    repos = {repo.repo: repo for each in targets if (repo := repository_of(each)) is not None}
    descriptors: list[int | None] = []
    try:
        with deleting(removal.name):
            descriptors += (repo.claim() for repo in repos.values())
            descriptors += (claim_file(each) for each in targets if repository_of(each) is None)
            if None in descriptors:
                raise in_use_error(removal.name)
            for each in targets:
                if repository_of(each) is None and not delete_url_file(each):
                    raise in_use_error(removal.name)
            for link in removal.links:
                Path(link).unlink(missing_ok=True)
            _delete_cached({str(each) for each in targets if repository_of(each) is not None})
    finally:
        for descriptor in descriptors:
            if descriptor is not None:
                os.close(descriptor)


def _url_removal(name: str, place: Path, target: Path, folders: ModelFolders, removed: Collection[str]) -> Removal:
    """Return the removal of a file that was downloaded by URL: of the link alone if it has further names."""
    links = {str(each) for _, _, each in _entries(folders) if os.path.realpath(each) == str(target)}
    others = links - {str(place), *removed}
    if others:
        return Removal(name, None, (), 0, (str(place),))
    return Removal(name, None, (), target.stat().st_size, (str(place),), (str(target),))


def _cached_removal(
    name: str, place: Path, target: Path, repo: CachedRepo, folders: ModelFolders, removed: Collection[str]
) -> Removal:
    """Return the removal of a file in the cache: of its repository if that has no other weights, else of the file alone."""
    commits = repo.folder / "snapshots"
    kept = [each for each in commits.rglob("*") if each.is_file() and str(each) not in removed]
    names = {each.relative_to(commits).parts[1:] for each in kept}
    weights = weight_names("/".join(parts) for parts in names)
    if len(weights) <= 1:
        return plan_removal(repo.repo, (folders.models, folders.loras, folders.embeddings))
    # Several names may have the same content.
    links = [str(each) for _, _, each in _entries(folders) if each.exists() and os.path.realpath(each) == str(target)]
    entries = [str(each) for each in commits.rglob("*") if each.is_file() and os.path.realpath(each) == str(target)]
    return Removal(name, None, (), target.stat().st_size, tuple(links or [str(place)]), tuple(entries))


def _delete_cached(entries: set[str]) -> None:
    """Delete files from the snapshots of the cache, and their content if nothing else has it."""
    if not entries:
        return
    cache = scan_cache_dir(constants.HF_HUB_CACHE)
    revisions = [revision for repo in cache.repos for revision in repo.revisions]
    files = [file for revision in revisions for file in revision.files if str(file.file_path) in entries]
    carry_out(cache.delete_files(*files))


def _entries(folders: ModelFolders) -> Iterator[tuple[str, RepoKind, Path]]:
    """Yield the name, the kind and the place of each model, LoRA and embedding; broken links are included."""
    for place in _visible(folders.models):
        if place.is_dir() and index_file(place):
            yield place.name, "diffusers", place
        elif place.suffix.lower() in CHECKPOINT_SUFFIXES and not place.is_dir():
            yield place.stem, "gguf" if place.suffix.lower() == ".gguf" else "checkpoint", place
    adapters: tuple[tuple[RepoKind, Path], ...] = (("lora", folders.loras), ("embedding", folders.embeddings))
    for kind, folder in adapters:
        for place in sorted(folder.rglob("*")) if folder.is_dir() else ():
            if place.suffix.lower() in SUFFIXES and (place.is_file() or place.is_symlink()):
                yield place.relative_to(folder).with_suffix("").as_posix(), kind, place


def _visible(folder: Path) -> list[Path]:
    """Return the paths in a folder without hidden ones."""
    try:
        return sorted(each for each in folder.iterdir() if not each.name.startswith("."))
    except OSError:
        return []


def _describe(name: str, kind: RepoKind, place: Path) -> StoredModel:
    """Return what is known about a model, a LoRA or an embedding."""
    repo = repository_of(place)
    kind = kind_of_file(place, kind) if place.is_file() and kind == "checkpoint" else kind
    files = [each for each in place.rglob("*") if each.is_file()] if place.is_dir() else [place]
    stats = [each.stat() for each in files if each.exists()]
    size = sum(each.st_size for each in stats)
    missing = _missing(kind, place)
    return StoredModel(
        name=name,
        kind=kind,
        size=size,
        shared=size if repo else 0,
        last_used=max((each.st_atime for each in stats), default=0.0),
        revisions=(_commit_of(place, repo),) if repo else (),
        complete=not missing,
        missing=missing,
        folder=str(place.parent if not place.is_dir() else place),
        where="link" if place.is_symlink() else "folder",
        source=repo.repo if repo else None,
    )


def _commit_of(place: Path, repo: CachedRepo) -> str:
    """Return the commit that a link into the cache leads to; of a blob, none is known."""
    target = Path(os.path.abspath(place.parent / place.readlink()))  # noqa: PTH100 (links inside the cache are not followed)
    parts = target.parts
    return parts[parts.index("snapshots") + 1][:8] if "snapshots" in parts else (repo.commit() or "")[:8]


def _missing(kind: RepoKind, place: Path) -> tuple[str, ...]:
    """Return what a model lacks, or why it cannot be read."""
    if place.is_symlink() and not place.exists():
        return (f"the link is broken: {place.readlink()}",)
    if place.is_dir():
        try:
            return missing_by_index(place, folder_index(place))
        except OctaboxError as error:
            return (error.message,)
    if kind == "embedding":
        problem = read_embedding(place, place.stem).problem
        return (problem,) if problem else ()
    check: Callable[[Path], object] = check_lora if kind == "lora" else read_shapes
    try:
        check(place)
    except (OctaboxError, OSError) as error:
        return (str(getattr(error, "message", error)),)
    return ()
