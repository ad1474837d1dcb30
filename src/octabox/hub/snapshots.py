"""Find models in the Hub's cache without network access, and state what they lack."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from octabox.errors import OctaboxError
from octabox.hub.cache_layout import CachedRepo, RemoteFile
from octabox.hub.folder import index_components, index_file, read_index
from octabox.hub.selection import essential_files, select_files, variants_of
from octabox.security.json_files import read_json


def find_snapshot(
    repo: str,
    revision: str | None = None,
    *,
    variant: str | None = None,
    omit: Collection[str] = (),
    weightless: Collection[str] = (),
) -> Path | None:
    """Return the folder of a diffusers model in the cache; None if it is not there, or not complete.

    Args:
        repo: The repository.
        revision: Its branch, tag or commit.
        variant: Variant of the weights; by default any.
        omit: Components that come from another source.
        weightless: Components of which only the configuration is needed.
    """
    cached = CachedRepo(repo)
    commit = cached.commit(revision)
    if commit is None:
        return None
    folder = cached.snapshot(commit)
    if index_file(folder) is None:
        return None
    if missing_files(repo, commit, variant=variant, omit=omit, weightless=weightless):
        return None
    return folder


def missing_files(
    repo: str,
    commit: str,
    *,
    variant: str | None = None,
    omit: Collection[str] = (),
    weightless: Collection[str] = (),
) -> tuple[str, ...]:
    """Return the files that a diffusers model in the cache lacks.

    The list of all files at the commit determines them; without it, the index and the shards do. Without a variant, the one
    that lacks the fewest files counts.
    """
    cached = CachedRepo(repo)
    folder, tree = cached.snapshot(commit), cached.tree(commit)
    file = index_file(folder)
    if file is None:
        return ("model_index.json",)
    try:
        index = read_index(file, str(file))
    except OctaboxError:
        return (file.name,)
    if tree is None:
        return _missing_by_index(folder, [name for name, (_, cls) in index_components(index).items() if cls], omit)
    names = [each.path for each in tree]
    candidates = [variant] if variant else [None, *variants_of(names)]
    selections = (select_files(names, index, each, omit, weightless) for each in candidates)
    missing = [
        tuple(name for name in essential_files(selected) if not (folder / name).exists()) for selected in selections
    ]
    return min(missing, key=len)


def missing_size(repo: str, commit: str, names: Collection[str]) -> int:
    """Return the bytes of files at a commit, as far as they are known."""
    tree: list[RemoteFile] = CachedRepo(repo).tree(commit) or []
    return sum(each.size for each in tree if each.path in names)


def _missing_by_index(folder: Path, components: Collection[str], omit: Collection[str]) -> tuple[str, ...]:
    """Return the component folders and shards that a snapshot lacks."""
    missing = [f"{name}/" for name in components if name not in omit and not (folder / name).is_dir()]
    for index in [*folder.glob("*.index*.json"), *folder.glob("*/*.index*.json")]:
        try:
            shards = set(read_json(index)["weight_map"].values())
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue
        lacking = [shard for shard in sorted(shards) if not (index.parent / str(shard)).exists()]
        # An index without any of its shards belongs to a format that was not downloaded.
        if len(lacking) < len(shards):
            missing += [(index.parent / str(shard)).relative_to(folder).as_posix() for shard in lacking]
    return tuple(missing)
