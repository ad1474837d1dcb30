"""Find what a request needs in the cache, without the Hub."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from octabox.errors import OctaboxError
from octabox.hub.adapters.selection import select_adapter
from octabox.hub.cache_layout import CachedRepo
from octabox.hub.pulls.needed import PullRequest
from octabox.hub.selection import essential_files, folder_files, kind_of_repository, variants_of
from octabox.hub.snapshots import find_snapshot, missing_files


def find_copy(request: PullRequest) -> Path | None:
    """Return the folder of the commit in the cache if it has all that a request for a model or a part needs.

    None if something is missing, and for the request for a single file.
    """
    if not request.is_part:
        if request.file is not None:
            return None
        return find_snapshot(
            request.repo,
            request.revision,
            variant=request.variant,
            omit=request.omit,
            weightless=request.weightless,
        )
    cached = CachedRepo(request.repo)
    commit = cached.commit(request.revision)
    if commit is None or not (folder := cached.snapshot(commit)).is_dir():
        return None
    return None if _missing_of_part(request, folder, commit) else folder


def missing_of(request: PullRequest) -> tuple[str, ...]:
    """Return the files that a request needs and that are not in the cache, as far as they are known."""
    cached = CachedRepo(request.repo)
    commit = cached.commit(request.revision)
    if commit is None:
        return ()
    request = actual_request(request, commit)
    if request.is_part:
        return _missing_of_part(request, cached.snapshot(commit), commit)
    if request.file is not None:
        return (request.file,)
    return missing_files(
        request.repo, commit, variant=request.variant, omit=request.omit, weightless=request.weightless
    )


def actual_request(request: PullRequest, commit: str) -> PullRequest:
    """Return the request for what a repository in the cache is: one for all of a single component is for that part."""
    if request.is_part or request.file is not None:
        return request
    cached = CachedRepo(request.repo)
    tree = [each.path for each in cached.tree(commit) or ()]
    kind = kind_of_repository({*tree, *present_files(cached.snapshot(commit))})
    return as_component(request) if kind == "component" else request


def as_component(request: PullRequest) -> PullRequest:
    """Return the request for the component at the top level of a repository."""
    return replace(request, folders=("",))


def present_files(folder: Path) -> list[str]:
    """Return the names of the files in the folder of a commit; of a link, its content has to be there."""
    return [each.relative_to(folder).as_posix() for each in folder.rglob("*") if each.is_file()]


def _missing_of_part(request: PullRequest, folder: Path, commit: str) -> tuple[str, ...]:
    """Return the files that an adapter or components lack.

    The list of all files at the commit determines them; without it, those that are there do.
    """
    present = present_files(folder)
    tree = CachedRepo(request.repo).tree(commit)
    names = present if tree is None else [each.path for each in tree]
    missing: list[str] = []
    if request.adapter is not None:
        # Of several files, the one in the cache was chosen by the user.
        file = _adapter_of(request, names) or _adapter_of(request, present)
        if file is None or file not in present:
            missing.append(file or "/".join(filter(None, (request.subfolder, request.file or "*.safetensors"))))
    for each in request.folders:
        missing += _missing_of_folder(request, each, names, present)
    return tuple(missing)


def _missing_of_folder(request: PullRequest, folder: str, names: list[str], present: list[str]) -> tuple[str, ...]:
    """Return the files that a component lacks; without a variant, those of the one that lacks the fewest."""
    found = []
    for variant in [request.variant] if request.variant else [None, *variants_of(names)]:
        needed = essential_files(folder_files(names, folder, variant))
        if not needed and request.adapter is None:
            return (f"{folder}/",)
        found.append(tuple(name for name in needed if name not in present))
    return min(found, key=len)


def _adapter_of(request: PullRequest, names: list[str]) -> str | None:
    """Return the file of an adapter among names; None if there is none, or several."""
    assert request.adapter is not None  # noqa: S101 (as the caller has checked)
    try:
        return select_adapter(request.adapter, request.repo, names, request.subfolder, request.file)
    except OctaboxError:
        return None
