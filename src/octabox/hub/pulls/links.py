"""Make a downloaded file available under a name: a link in the folder of models, LoRAs or embeddings, or a configuration."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

from octabox.errors import DownloadError, InvalidParameterError, OctaboxError
from octabox.hub.adapters.adapter_file import SUFFIXES, check_lora, read_embedding
from octabox.hub.cache_layout import repository_of
from octabox.hub.checkpoints.families import match_family
from octabox.hub.checkpoints.tensors import read_shapes
from octabox.hub.folder import CHECKPOINT_SUFFIXES, is_short_name
from octabox.hub.pulls.plan import PullPlan
from octabox.hub.selection import EMBEDDING_STEMS, LORA_STEMS, SINGLE_FILE_KINDS, RepoKind

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


def register_model(plan: PullPlan, folders: ModelFolders, name: str | None = None) -> Registered | None:
    """Make a downloaded model available under a name; a diffusers model without a name is used by its Hub id.

    Args:
        plan: The plan of the download.
        folders: The folders.
        name: Its name; by default that of the file.

    Raises:
        InvalidParameterError: The name is used by another file.
        DownloadError: The link or the configuration cannot be written.
    """
    check_name(name)
    if plan.request.is_part:
        return None  # It is found by its id.
    if plan.kind in SINGLE_FILE_KINDS or plan.request.file is not None:
        file = plan.files[0]
        return register_file(plan.folder / file.path, folders, name, plan.kind, plan.request.repo)
    if name is None:
        return None
    place = folders.models / f"{name}.yaml"
    fields = {
        "name": name,
        "model": plan.request.repo,
        "revision": plan.request.revision,
        "variant": plan.request.variant,
    }
    text = yaml.safe_dump({key: value for key, value in fields.items() if value}, sort_keys=False)
    if place.exists() and place.read_text(encoding="utf-8") != text:
        raise _in_use(place)
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
    if name is None:
        name = repo.rpartition("/")[2] if repo and file.stem in LORA_STEMS | EMBEDDING_STEMS else file.stem
    folder = {"lora": folders.loras, "embedding": folders.embeddings}.get(kind, folders.models)
    place = folder / f"{name}{file.suffix}"
    if os.path.lexists(place):
        same = place.is_symlink() and (
            place.resolve() == file.resolve() or repository_of(place) == repository_of(file) is not None
        )
        if not same:
            raise _in_use(place)
    with _writing(place):
        place.unlink(missing_ok=True)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(file.absolute())
    return Registered(name, kind, place)


def kind_of_file(file: Path, default: RepoKind = "checkpoint") -> RepoKind:
    """Return what a file is, by its tensors: a model, a LoRA or an embedding."""
    suffix = file.suffix.lower()
    if suffix == ".gguf":
        return "gguf"
    if suffix in CHECKPOINT_SUFFIXES:
        try:
            family = match_family(read_shapes(file))
        except OctaboxError:
            family = None
        if family is not None and not family.not_a_model:
            return "checkpoint"
    if suffix in SUFFIXES:
        try:
            check_lora(file)
        except OctaboxError:
            return default if read_embedding(file, file.stem).problem else "embedding"
        return "lora"
    return default


@contextlib.contextmanager
def _writing(place: Path) -> Iterator[None]:
    """Turn an error of the file system within the context into one with the place."""
    try:
        yield
    except OSError as error:
        message = f"{place} cannot be written: {error.strerror or error}."
        raise DownloadError(message, hint="Check the folder: what was downloaded is kept.") from error


def _in_use(place: Path) -> InvalidParameterError:
    message = f"{place} exists already, and is not of this model."
    return InvalidParameterError(message, hint="Choose another name, on the command line with --as.", parameter="name")
