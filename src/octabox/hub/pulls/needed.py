"""What is requested of a repository, and which of its files that needs."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from octabox.errors import InvalidParameterError, ModelNotFoundError
from octabox.hub.adapters.selection import AdapterKind, select_adapter
from octabox.hub.cache_layout import RemoteFile
from octabox.hub.folder import INDEX_FILES
from octabox.hub.responses.messages import no_file
from octabox.hub.selection import (
    SINGLE_FILE_KINDS,
    RepoKind,
    folder_files,
    kind_of_repository,
    select_files,
    variants_of,
    weight_names,
)


@dataclass(frozen=True)
class PullRequest:
    """A model, or a part of one, to download.

    Args:
        repo: The repository.
        revision: Branch, tag or commit; None is the default branch.
        file: The one file to download, from a repository of single files; of an adapter, its name in `subfolder`.
        variant: Variant of the weights, such as fp16.
        omit: Components that come from another source.
        weightless: Components of which only the configuration is needed.
        folders: Folders of the components to download, the empty one for the top level; empty for the complete model.
        adapter: The kind of an adapter, of which one file is needed, and `folders` as far as they exist.
        subfolder: Folder of that file.
    """

    repo: str
    revision: str | None = None
    file: str | None = None
    variant: str | None = None
    omit: tuple[str, ...] = ()
    weightless: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()
    adapter: AdapterKind | None = None
    subfolder: str = ""

    @property
    def is_part(self) -> bool:
        """Whether it is an adapter or components, not the model that the repository holds."""
        return bool(self.folders) or self.adapter is not None


def needed_files(
    request: PullRequest,
    files: Mapping[str, RemoteFile],
    tags: Collection[str],
    read_index: Callable[[], Mapping[str, Any] | None],
) -> tuple[list[str], RepoKind]:
    """Return the names of the files that a request needs, and what they are.

    Args:
        request: The request.
        files: All files of the repository.
        tags: Its tags.
        read_index: Returns its index.

    Raises:
        ModelNotFoundError: A file or a folder does not exist.
        InvalidParameterError: The variant does not exist, or a file must be selected.
        AdapterNotFoundError: There is no file of a LoRA, or several.
        LoadError: The same of an IP-Adapter.
    """
    kind = kind_of_repository(files, tags)
    _check_variant(request, kind)
    if request.adapter is not None:
        return _adapter_files(request, [*files]), "lora" if request.adapter == "lora" else "other"
    if request.folders:
        return _part_files(request, [*files]), "component"
    if request.file is not None:
        return [_one_file(request, files)], "checkpoint" if kind == "diffusers" else kind
    if kind in ("diffusers", "component"):
        return _model_files(request, [*files], read_index() if kind == "diffusers" else None), kind
    return [_only_file(request, kind, files)], kind


def _check_variant(request: PullRequest, kind: RepoKind) -> None:
    """Refuse a variant where the file is selected by its name.

    Raises:
        InvalidParameterError: It has no effect.
    """
    is_folder = request.is_part or (request.file is None and kind in ("diffusers", "component"))
    if request.variant is None or is_folder:
        return
    reason = "a file is selected by its name" if request.file else "it is a repository of single files"
    message = f"The variant {request.variant!r} has no effect for {request.repo}: {reason}."
    hint = "Leave the variant out, and name the file: `octabox inspect` lists those of a repository."
    raise InvalidParameterError(message, hint=hint, model=request.repo, parameter="variant")


def _adapter_files(request: PullRequest, names: list[str]) -> list[str]:
    """Return the file of an adapter, and the files of the folders that come with it."""
    assert request.adapter is not None  # noqa: S101 (as the caller has checked)
    file = select_adapter(request.adapter, request.repo, names, request.subfolder, request.file)
    return [file, *(name for each in request.folders for name in folder_files(names, each, request.variant))]


def _part_files(request: PullRequest, names: list[str]) -> list[str]:
    """Return the files of single components."""
    selected: list[str] = []
    for folder in request.folders:
        found = folder_files(names, folder, request.variant)
        if not found:
            folders = sorted({name.rpartition("/")[0] for name in names if "/" in name})
            raise no_file(request.repo, f"{folder}/", tuple(f"{each}/" for each in folders))
        selected += found
    return list(dict.fromkeys(selected))


def _model_files(request: PullRequest, names: list[str], index: Mapping[str, Any] | None) -> list[str]:
    """Return the names of the files of a model or component."""
    if request.variant is not None and request.variant not in variants_of(names):
        raise _no_variant(request, variants_of(names))
    return select_files(names, index, request.variant, request.omit, request.weightless)


def _no_variant(request: PullRequest, variants: list[str]) -> InvalidParameterError:
    message = f"{request.repo} has no variant {request.variant!r}."
    hint = f"It has: {', '.join(variants)}." if variants else "Omit the variant: its weights have only one."
    return InvalidParameterError(message, hint=hint, model=request.repo, parameter="variant", choices=variants)


def _one_file(request: PullRequest, files: Collection[str]) -> str:
    """Return the name of the requested file."""
    name = str(request.file)
    found = match_files(name, files)
    if len(found) == 1:
        return found[0]
    raise no_file(request.repo, name, tuple(found or files))


def match_files(name: str, files: Collection[str]) -> list[str]:
    """Return the files that a name means: the one of this name, or else those that have it but for their folder or suffix."""
    if name in files:
        return [name]
    return [each for each in files if each.rpartition("/")[2] == name or Path(each).stem == name]


def _only_file(request: PullRequest, kind: RepoKind, files: Mapping[str, RemoteFile]) -> str:
    """Return the only file of weights in a repository of single files."""
    found = weight_names(files)
    if kind in SINGLE_FILE_KINDS:
        safe = [name for name in found if name.endswith(".safetensors")]
        # The same weights in two formats are one file for this purpose.
        stems = {Path(name).stem for name in found}
        if len(found) == 1 or (len(safe) == 1 and len(stems) == 1):
            return (safe or found)[0]
    if not found:
        message, hint = f"{request.repo} has no weights.", "Choose another repository: `octabox search WORDS`."
        raise ModelNotFoundError(message, hint=hint, model=request.repo)
    sizes = ", ".join(f"{name} ({files[name].size / 1e9:.2f} GB)" for name in found[:12])
    more = f" and {len(found) - 12} more" if len(found) > 12 else ""  # noqa: PLR2004 (as listed)
    raise InvalidParameterError(
        f"{request.repo} has no {INDEX_FILES[0]}, but several single files: {sizes}{more}.",
        hint=f"Choose one: `octabox pull {request.repo} --file {shlex.quote(found[0])}`.",
        model=request.repo,
        parameter="file",
        choices=found,
    )
