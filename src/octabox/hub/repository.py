"""Read the index of a model, from a folder or from a Hub repository."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from huggingface_hub import hf_hub_download, hf_hub_url
from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError
from huggingface_hub.utils import (  # type: ignore[attr-defined] # imported lazily there
    build_hf_headers,
    get_session,
    hf_raise_for_status,
)

from octabox.errors import IncompatibleWeightsError
from octabox.hub.cache_layout import RemoteFile
from octabox.hub.folder import INDEX_FILES, folder_index, is_hub_id, parse_index, read_index
from octabox.hub.responses.errors import hub_error
from octabox.hub.responses.messages import HUB_ERRORS, RESPONSE_ERRORS, check_proxies, check_token, hub_api
from octabox.hub.snapshots import find_snapshot
from octabox.security.json_files import MAX_BYTES, read_json

__all__ = ["is_hub_id", "model_index", "pipeline_tag", "remote_index", "repository_index", "scheduler_config"]

#: Folder and file of the scheduler configuration in a diffusers model.
SCHEDULER, SCHEDULER_FILE = "scheduler", "scheduler_config.json"


def model_index(source: str | Path, revision: str | None = None) -> dict[str, Any]:
    """Return the index of a model, with its pipeline class and its components.

    Args:
        source: A folder or a Hub repository.
        revision: Branch, tag or commit of the repository.

    Raises:
        ModelNotFoundError: The folder, repository or revision does not exist.
        GatedModelError: The Hub requires an agreement or another token.
        DownloadError: The Hub cannot be reached, or is disabled.
        IncompatibleWeightsError: It is not a diffusers model.
    """
    if isinstance(source, Path) or Path(source).exists() or not is_hub_id(source):
        return folder_index(Path(source))
    index = repository_index(source, revision)
    if index is None:
        raise hub_error(EntryNotFoundError(INDEX_FILES[0]), source, revision)
    return index


def repository_index(repo: str, revision: str | None = None) -> dict[str, Any] | None:
    """Return the index of a Hub repository; None if it has none. Raises the errors of `model_index`."""
    for name in INDEX_FILES:
        file = _fetch(repo, name, revision)
        if file is not None:
            return read_index(file, f"{repo}/{name}")
    return None


def remote_index(repo: str, commit: str, files: Mapping[str, RemoteFile]) -> dict[str, Any] | None:
    """Return the index of a commit without storing it; None if it has none. Raises the errors of `model_index`.

    Args:
        repo: The repository.
        commit: The commit.
        files: All files of the commit.
    """
    name = next((each for each in INDEX_FILES if each in files), None)
    if name is None:
        return None
    if files[name].size > MAX_BYTES:
        raise _too_large(repo, name, files[name].size)
    api = hub_api()
    url = hf_hub_url(repo, name, revision=commit, endpoint=api.endpoint)
    try:
        response = get_session().get(url, headers=build_hf_headers(library_name=api.library_name))
        hf_raise_for_status(response)
    except RESPONSE_ERRORS as error:
        raise hub_error(error, repo, commit) from error
    return parse_index(response.content, f"{repo}/{name}")


def scheduler_config(source: str | Path, revision: str | None = None, folder: str = SCHEDULER) -> dict[str, Any] | None:
    """Return the scheduler configuration of a model; None if it has none. Raises the errors of `model_index`.

    Args:
        source: A folder or a Hub repository.
        revision: Branch, tag or commit of the repository.
        folder: Folder of the scheduler in it.
    """
    name = f"{folder}/{SCHEDULER_FILE}" if folder else SCHEDULER_FILE
    if isinstance(source, Path) or Path(source).exists() or not is_hub_id(source):
        file: Path | None = Path(source) / name
    else:
        file = _fetch(source, name, revision)
    if file is None or not file.is_file():
        return None
    try:
        found = read_json(file)
    except (OSError, ValueError) as error:
        hint = "The download may be incomplete; download the model again."
        raise IncompatibleWeightsError(f"{source}/{name} is not valid JSON: {error}.", hint=hint) from error
    return found if isinstance(found, dict) else None


def pipeline_tag(repo: str) -> str | None:
    """Return the task tag of a Hub repository. Raises the errors of `model_index`."""
    try:
        return hub_api().model_info(repo).pipeline_tag
    except HUB_ERRORS as error:
        raise hub_error(error, repo) from error


def _fetch(repo: str, name: str, revision: str | None) -> Path | None:
    """Return a file of a repository: from a complete model in the cache, else by a download; None if it does not exist."""
    try:
        if (snapshot := find_snapshot(repo, revision)) is not None:
            return snapshot / name if (snapshot / name).exists() else None
        check_token()
        check_proxies()
        found = hf_hub_download(repo, name, revision=revision, dry_run=True)
        if (place := Path(found.local_path)).exists() and not found.will_download:
            return place
        if (found.file_size or 0) > MAX_BYTES:
            raise _too_large(repo, name, found.file_size or 0)
        return Path(hf_hub_download(repo, name, revision=revision))
    except LocalEntryNotFoundError as error:
        raise hub_error(error, repo, revision) from error
    except EntryNotFoundError:
        return None
    except HUB_ERRORS as error:
        raise hub_error(error, repo, revision) from error


def _too_large(repo: str, name: str, size: int) -> IncompatibleWeightsError:
    """Return the error for a configuration with too many bytes."""
    message = f"{repo}/{name} is not downloaded: it has {size} bytes, and a configuration at most {MAX_BYTES}."
    hint = "Such a file is not one of a model; choose another repository."
    return IncompatibleWeightsError(message, hint=hint, model=repo)
