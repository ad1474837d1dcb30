"""Make a downloaded file available under a name: a link in the folder of models, LoRAs or embeddings, or a configuration."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import yaml

from octabox.errors import DownloadError, InvalidParameterError, OctaboxError
from octabox.hub.adapters.adapter_file import SUFFIXES, kind_of_shapes, read_tensors
from octabox.hub.cache_layout import CachedRepo, repository_of
from octabox.hub.folder import CHECKPOINT_SUFFIXES, YAML_SUFFIXES, index_file, is_short_name
from octabox.hub.pulls.plan import PullPlan
from octabox.hub.selection import EMBEDDING_STEMS, LORA_STEMS, SINGLE_FILE_KINDS, RepoKind
from octabox.security.filesystem import read_file

#: Names of a model: part of a file name.
_NAME = re.compile(r"[^\s/\\.-][^/\\\n]*")


@dataclass(frozen=True)
class ModelFolders:
    """The folders that names are looked up in.

    Args:
        models: Folder of models and configurations.
        loras: Folder of LoRAs.
        embeddings: Folder of embeddings.
    """

    models: Path
    loras: Path
    embeddings: Path


@dataclass(frozen=True)
class Registered:
    """A name of a downloaded model.

    Args:
        name: The name.
        kind: What it is.
        path: The link or the configuration.
    """

    name: str
    kind: RepoKind
    path: Path


def check_name(name: str | None) -> None:
    """Check a name for a model.

    Raises:
        InvalidParameterError: It cannot be the name of a file.
    """
    if name is not None and not (_NAME.fullmatch(name) and is_short_name(name)):
        message = f"{name!r} cannot be the name of a model."
        raise InvalidParameterError(message, hint="Use a few letters, digits, dots and dashes.", parameter="name")


def check_registration(plan: PullPlan, folders: ModelFolders, name: str | None = None) -> None:
    """Check before a download that its model can be made available under a name; what a file is, only its content shows.

    Args:
        plan: The plan of the download.
        folders: The folders.
        name: Its name; by default that of the file.

    Raises:
        InvalidParameterError: The name is used by another file, or the model cannot have one.
    """
    check_name(name)
    if plan.request.is_part or (name is None and not _is_file(plan)):
        return
    if _is_file(plan):
        check_file(plan.folder / plan.files[0].path, cast("Path", planned_place(plan, folders, name)))
        return
    if plan.kind == "component":
        message = f"{plan.request.repo} is a component, which is used by its Hub id, not by a name."
        hint = f"Set `components: {{NAME: {{model: {plan.request.repo}}}}}` in the configuration of a model."
        raise InvalidParameterError(message, hint=hint, parameter="name")
    place = folders.models / f"{name}.yaml"
    if not os.path.lexists(place):
        _check_free(place)
    elif _read(place) != _configuration(plan, str(name)):
        raise _in_use(place)


def planned_place(plan: PullPlan, folders: ModelFolders, name: str | None = None) -> Path | None:
    """Return the place of the link or the configuration that gives a name to a model; None if it gets none.

    Args:
        plan: The plan of the download.
        folders: The folders.
        name: Its name; by default that of the file.
    """
    if plan.request.is_part or (name is None and not _is_file(plan)):
        return None
    if not _is_file(plan):
        return folders.models / f"{name}.yaml"
    file = plan.folder / plan.files[0].path
    kind: RepoKind = "gguf" if file.suffix.lower() == ".gguf" else plan.kind
    if file.exists():
        kind = kind_of_file(file, kind)
    return _place_of(file, folders, name, kind, plan.request.repo)


def possible_places(file: Path, folders: ModelFolders, name: str | None = None) -> list[Path]:
    """Return the places that the link to a file may have: the content decides, which is not known before its download.

    Args:
        file: The file; if it exists, it has one place.
        folders: The folders.
        name: Its name; by default that of the file.
    """
    suffix = file.suffix.lower()
    kinds: tuple[RepoKind, ...] = ("checkpoint", "lora", "embedding") if suffix in SUFFIXES else ("checkpoint",)
    if file.exists():
        kinds = (kind_of_file(file),)
    return [_place_of(file, folders, name, kind, "") for kind in kinds]


def register_model(plan: PullPlan, folders: ModelFolders, name: str | None = None) -> Registered | None:
    """Make a downloaded model available under a name; a diffusers model without a name is used by its Hub id.

    Args:
        plan: The plan of the download.
        folders: The folders.
        name: Its name; by default that of the file.

    Raises:
        InvalidParameterError: The name is used by another file, or the model cannot have one.
        DownloadError: The link or the configuration cannot be written.
    """
    if not plan.request.is_part and _is_file(plan):
        check_name(name)
        return register_file(plan.folder / plan.files[0].path, folders, name, plan.kind, plan.request.repo)
    check_registration(plan, folders, name)
    if plan.request.is_part or name is None:
        return None  # It is found by its id.
    place, text = folders.models / f"{name}.yaml", _configuration(plan, name)
    if _read(place) != text:
        with _writing(place):
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text, encoding="utf-8")
    return Registered(name, plan.kind, place)


def register_file(
    file: Path, folders: ModelFolders, name: str | None = None, kind: RepoKind = "checkpoint", repo: str = ""
) -> Registered:
    """Link a file into the folder of its kind, which its content determines.

    Args:
        file: The file.
        folders: The folders.
        name: Its name; by default that of the file, or of the repository if that of the file is generic.
        kind: What it is if its content does not show it.
        repo: Its repository.

    Raises:
        InvalidParameterError: The name is used by another file.
        DownloadError: The link cannot be written.
    """
    kind = kind_of_file(file, kind)
    place = _place_of(file, folders, name, kind, repo)
    check_file(file, place)
    if place.is_symlink() and place.readlink() == file.absolute():
        return Registered(place.name.removesuffix(file.suffix), kind, place)
    with _writing(place):
        place.unlink(missing_ok=True)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(file.absolute())
    return Registered(place.name.removesuffix(file.suffix), kind, place)


def _is_file(plan: PullPlan) -> bool:
    """Return whether a plan is for a single file."""
    return plan.kind in SINGLE_FILE_KINDS or plan.request.file is not None


def _configuration(plan: PullPlan, name: str) -> str:
    """Return the configuration that gives a name to a model."""
    request = plan.request
    fields = {"name": name, "model": request.repo, "revision": request.revision, "variant": request.variant}
    return yaml.safe_dump({key: value for key, value in fields.items() if value}, sort_keys=False)


def _place_of(file: Path, folders: ModelFolders, name: str | None, kind: RepoKind, repo: str) -> Path:
    """Return the place of the link to a file."""
    if name is None:
        name = repo.rpartition("/")[2] if repo and file.stem in LORA_STEMS | EMBEDDING_STEMS else file.stem
    folder = {"lora": folders.loras, "embedding": folders.embeddings}.get(kind, folders.models)
    return folder / f"{name}{file.suffix}"


def check_file(file: Path, place: Path) -> None:
    """Check that a place is free for the link to a file, or has a link to the same file, also of another commit.

    Raises:
        InvalidParameterError: It is not.
    """
    if not os.path.lexists(place):
        _check_free(place)
        return
    target = place.parent / place.readlink() if place.is_symlink() else place
    is_same = place.resolve() == file.resolve() or _path_in_repository(target) == _path_in_repository(file)
    if not (place.is_symlink() and is_same):
        raise _in_use(place)


def _path_in_repository(path: Path) -> tuple[CachedRepo | None, str]:
    """Return the repository in the cache that a file belongs to, and its path there; for another file, its own path."""
    path = Path(os.path.abspath(path))  # noqa: PTH100 (links inside the cache are not followed)
    repo = repository_of(path.parent)
    if repo is None or not path.is_relative_to(snapshots := os.path.abspath(repo.folder / "snapshots")):  # noqa: PTH100
        return None, str(path)
    return repo, "/".join(path.relative_to(snapshots).parts[1:])


def _check_free(place: Path) -> None:
    """Check that no model in the folder of a place has its name: a folder, a file, or a configuration of something else.

    Raises:
        InvalidParameterError: One has it.
    """
    for each in place.parent.iterdir() if place.parent.is_dir() else ():
        is_folder, suffix = each.is_dir(), each.suffix.lower()
        if place.stem != (each.name if is_folder else each.stem):
            continue
        is_configuration = suffix in YAML_SUFFIXES and place.name not in (_read(each) or "")
        if is_configuration or (index_file(each) if is_folder else suffix in CHECKPOINT_SUFFIXES | SUFFIXES):
            raise _in_use(each)


def _read(place: Path) -> str | None:
    """Return the content of a configuration; None if it is not a file that can be read."""
    try:
        return read_file(place).decode()
    except (OSError, ValueError):
        return None


def kind_of_file(file: Path, default: RepoKind = "checkpoint") -> RepoKind:
    """Return what a file is, by its tensors: a model, a LoRA or an embedding."""
    suffix = file.suffix.lower()
    if suffix == ".gguf":
        return "gguf"
    if suffix not in SUFFIXES:
        return default
    try:
        return kind_of_shapes(read_tensors(file)[0]) or default
    except OctaboxError:
        return default


@contextlib.contextmanager
def _writing(place: Path) -> Iterator[None]:
    """Turn an error of the file system within the context into one with the place."""
    try:
        yield
    except OSError as error:
        raise not_writable(place, error, "Check the folder: what was downloaded is kept.") from error


def not_writable(place: Path, error: OSError, hint: str) -> DownloadError:
    """Return the error for a link or a configuration that cannot be written."""
    return DownloadError(f"{place} cannot be written: {error.strerror or error}.", hint=hint)


def _in_use(place: Path) -> InvalidParameterError:
    message = f"{place} exists already, and is not of this model."
    return InvalidParameterError(message, hint="Choose another name, on the command line with --as.", parameter="name")
