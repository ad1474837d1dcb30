"""Find models in the Hub's cache without network access, and state what they lack."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from octabox.errors import OctaboxError
from octabox.hub.cache_layout import CachedRepo
from octabox.hub.component_files import STEMS, kind_of_class
from octabox.hub.folder import index_components, index_file, read_index
from octabox.hub.selection import essential_files, holds_weights, select_files, variants_of
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

    The list of all files at the commit determines them; without it, the index and the files do. Without a variant, the one
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
        return missing_by_index(folder, index, omit, weightless)
    names = [each.path for each in tree]
    candidates = [variant] if variant else [None, *variants_of(names)]
    selections = (select_files(names, index, each, omit, weightless) for each in candidates)
    missing = [
        tuple(name for name in essential_files(selected) if not (folder / name).exists()) for selected in selections
    ]
    return min(missing, key=len)


def missing_by_index(
    folder: Path, index: Mapping[str, Any], omit: Collection[str] = (), weightless: Collection[str] = ()
) -> tuple[str, ...]:
    """Return the component folders, the weights and the shards that the folder of a model lacks.

    Args:
        folder: The folder.
        index: The content of its index.
        omit: Components that come from another source.
        weightless: Components of which only the configuration is needed.
    """
    missing: list[str] = []
    for name, (library, cls) in index_components(index).items():
        if not cls or name in omit:
            continue
        if not (folder / name).is_dir():
            missing.append(f"{name}/")
        elif name not in weightless and _lacks_weights(folder / name, library, cls):
            stem = STEMS.get(library or "", STEMS["diffusers"])[0]
            missing.append(f"{name}/{stem}.safetensors")
    for file in [*folder.glob("*.index*.json"), *folder.glob("*/*.index*.json")]:
        try:
            shards = set(read_json(file)["weight_map"].values())
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue
        lacking = [shard for shard in sorted(shards) if not (file.parent / str(shard)).exists()]
        # An index without any of its shards belongs to a format that was not downloaded.
        if len(lacking) < len(shards):
            missing += [(file.parent / str(shard)).relative_to(folder).as_posix() for shard in lacking]
    return tuple(missing)


def _lacks_weights(folder: Path, library: str | None, cls: str) -> bool:
    """Return whether the folder of a component has no weights, although it is a model by its class and its configuration."""
    names = [each.name for each in folder.iterdir() if each.is_file()]
    # Schedulers and the like have a configuration of another name.
    is_model = kind_of_class(cls) == "model" and (library == "transformers" or "config.json" in names)
    return is_model and not holds_weights(names)
