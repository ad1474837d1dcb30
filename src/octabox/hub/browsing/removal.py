"""Remove a downloaded model by any of its names: a Hub id, or its name in the folders of this machine."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType

from octabox.errors import ModelNotFoundError
from octabox.hub.browsing.cached_models import Removal, plan_removal, remove_model
from octabox.hub.browsing.local_files import plan_local_removal, remove_local
from octabox.hub.cache_layout import CachedRepo
from octabox.hub.folder import is_hub_id
from octabox.hub.pulls.addresses import source_of
from octabox.hub.pulls.links import ModelFolders


def plan_removals(
    names: Iterable[str], folders: ModelFolders, url_folder: Path, sources: Mapping[str, str] = MappingProxyType({})
) -> list[Removal]:
    """Return what the removal of several models deletes; what two of them would delete is planned once.

    A file is deleted if all its names are among those of the models. The arguments and errors are those of `plan_any_removal`.
    """
    removals: list[Removal] = []
    for name in dict.fromkeys(names):
        links = {link for each in removals for link in each.links}
        removed = {*links, *(file for each in removals for file in each.files)}
        found = plan_any_removal(name, folders, url_folder, sources, removed)
        if not any(_includes(each.name, each.commits, links, found) for each in removals):
            kept = (each for each in removals if not _includes(found.name, found.commits, found.links, each))
            removals = [*kept, found]
    return removals


def plan_any_removal(
    name: str,
    folders: ModelFolders,
    url_folder: Path,
    sources: Mapping[str, str] = MappingProxyType({}),
    removed: Collection[str] = (),
) -> Removal:
    """Return what the removal of a model deletes.

    Args:
        name: A Hub id, with @REVISION for one revision, or the name of a downloaded file in its folder.
        folders: The folders of models, LoRAs and embeddings.
        url_folder: Folder of the files that were downloaded by URL.
        sources: The source of each configured model, for the hint if the name is one of these.
        removed: Links and files that are removed before.

    Raises:
        ModelNotFoundError: There is no such model.
        InvalidParameterError: It was not downloaded by Octabox.
    """
    name = source_of(name)
    found = None if is_hub_id(name.partition("@")[0]) else plan_local_removal(name, folders, url_folder, removed)
    if found is not None:
        return found
    if name in sources and is_hub_id(sources[name]):
        message = f"'{name}' is a configuration of {sources[name]}."
        raise ModelNotFoundError(message, hint=f"Remove the model: `octabox rm {sources[name]}`.", model=name)
    try:
        return plan_removal(name, (folders.models, folders.loras, folders.embeddings), removed)
    except ModelNotFoundError:
        # A name with a folder, such as style/ink, has the form of a Hub id.
        if (found := plan_local_removal(name, folders, url_folder, removed)) is None:
            raise
        return found


def _includes(name: str, commits: Collection[str], links: Collection[str], other: Removal) -> bool:
    """Return whether the removal of these commits of a repository, or of these links, does all that another removal does."""
    if other.commits:
        return name == other.name and {*other.commits} <= {*commits}
    # A file is deleted by its links.
    return bool(other.links) and {*other.links} <= {*links}


def remove(removal: Removal) -> None:
    """Delete what was planned.

    Raises:
        InvalidParameterError: It is in use by a process.
        ForbiddenPathError: A file cannot be deleted.
    """
    # An interrupted download has no commits; and a link may have a name that has the form of a Hub id.
    is_partial = is_hub_id(removal.name) and CachedRepo(removal.name).folder.is_dir()
    if removal.revision or (not removal.files and (removal.commits or is_partial)):
        remove_model(removal)
    else:
        remove_local(removal)
