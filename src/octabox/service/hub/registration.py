"""Give names to downloads: whether a name is free among all models is checked before the download, and before it is used."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from octabox.config.discovery import ModelFolder, discover, sources_of
from octabox.errors import InvalidParameterError
from octabox.hub.pulls.links import (
    ModelFolders,
    Registered,
    check_file,
    check_name,
    check_registration,
    not_writable,
    planned_place,
    possible_places,
    register_file,
    register_model,
)
from octabox.hub.pulls.plan import PullPlan
from octabox.hub.pulls.urls import UrlRequest
from octabox.security.filesystem import check_writable


def check_plan(plan: PullPlan, folders: ModelFolders, name: str | None = None) -> None:
    """Check before a download that its model can be made available under a name.

    Args:
        plan: The plan of the download.
        folders: The folders.
        name: Its name; by default that of the file.

    Raises:
        InvalidParameterError: The name is that of another model, also in a configuration, or the model cannot have one.
        DownloadError: The link or the configuration cannot be written.
    """
    check_registration(plan, folders, name)
    if (place := planned_place(plan, folders, name)) is not None:
        _check_name_free(place, folders)
        _check_writable([place])


def check_url(request: UrlRequest, folder: Path, folders: ModelFolders, name: str | None = None) -> None:
    """Check before a download by URL that its file can be made available under a name.

    Args:
        request: The URL.
        folder: Folder of files that are downloaded by URL.
        folders: The folders.
        name: Its name; by default that of the file.

    Raises:
        InvalidParameterError: Whatever the file is, which only its content shows, another one of its kind has the name.
        DownloadError: The link cannot be written.
    """
    check_name(name)
    file = request.place(folder)
    places, faults = [], []
    for place in possible_places(file, folders, name):
        try:
            check_file(file, place)
            _check_name_free(place, folders)
        except InvalidParameterError as error:
            faults.append(error)
        else:
            places.append(place)
    if not places:
        raise faults[0]
    _check_writable(places)


def register_plan(plan: PullPlan, folders: ModelFolders, name: str | None = None) -> Registered | None:
    """Make a downloaded model available under a name; a diffusers model without a name is used by its Hub id.

    Args:
        plan: The plan of the download.
        folders: The folders.
        name: Its name; by default that of the file.

    Raises:
        InvalidParameterError: The name is that of another model, or the model cannot have one.
        DownloadError: The link or the configuration cannot be written.
    """
    if (place := planned_place(plan, folders, name)) is not None:
        _check_name_free(place, folders)
    return register_model(plan, folders, name)


def register_download(file: Path, folders: ModelFolders, name: str | None = None) -> Registered:
    """Link a file that was downloaded by URL into the folder of its kind, which its content determines.

    Args:
        file: The file.
        folders: The folders.
        name: Its name; by default that of the file.

    Raises:
        InvalidParameterError: The name is that of another model.
        DownloadError: The link cannot be written.
    """
    for place in possible_places(file, folders, name):
        _check_name_free(place, folders)
    return register_file(file, folders, name)


def _check_writable(places: Sequence[Path]) -> None:
    """Check that a link or a configuration can be written in one of these places; one that is there stays as it is.

    Raises:
        DownloadError: None can be written.
    """
    faults = [(place, fault) for place in places if (fault := _fault_of(place)) is not None]
    if len(faults) == len(places):
        place, fault = faults[0]
        raise not_writable(place, fault, "Nothing was downloaded. Check the folder.") from fault


def _fault_of(place: Path) -> OSError | None:
    """Return why a link or a configuration cannot be written in a place; None if it can, or is there."""
    if os.path.lexists(place):
        return None
    try:
        check_writable(place.parent)
    except OSError as error:
        return error
    return None


def _check_name_free(place: Path, folders: ModelFolders) -> None:
    """Check that no model has the name of a link or a configuration, except one that is configured to be this file.

    Raises:
        InvalidParameterError: Another model has it.
    """
    if place.parent != folders.models:
        return  # LoRAs and embeddings have no other names than their files.
    found, name = discover(folders.models), place.stem
    config = found.named.get(name)
    if config is None or _same(place, _file_of(found, name)) or any(_same(place, each) for each in sources_of(config)):
        return
    file = _file_of(found, name)
    where = f"in {file}" if file is not None else f"of {config.model}"
    also = "" if config.name == name else f"another name of {config.name!r}, "
    message = f"The name {name!r} is used by another model: it is {also}{where}."
    raise InvalidParameterError(message, hint="Choose another name, on the command line with --as.", parameter="name")


def _file_of(found: ModelFolder, name: str) -> Path | None:
    """Return the configuration that gives a name to a model; None if that has none."""
    files = {each.config.name: each.file for each in found.entries} | {each.name: each.file for each in found.aliases}
    return files.get(name)


def _same(place: Path, other: Path | str | None) -> bool:
    """Return whether two paths are the same place; links are not followed."""
    return other is not None and os.path.abspath(place) == os.path.abspath(other)  # noqa: PTH100
