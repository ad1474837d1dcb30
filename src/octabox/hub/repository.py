"""Read the index of a model, from a folder or from a Hub repository."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from huggingface_hub import constants, hf_hub_download, model_info
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from octabox.errors import DownloadError, GatedModelError, IncompatibleWeightsError, ModelNotFoundError, OctaboxError
from octabox.hub.folder import INDEX_FILES, folder_index, is_hub_id, read_index
from octabox.security.json_files import read_json

__all__ = ["hub_error", "is_hub_id", "model_index", "pipeline_tag", "repository_index", "scheduler_config"]

#: Folder and file of the scheduler configuration in a diffusers model.
SCHEDULER, SCHEDULER_FILE = "scheduler", "scheduler_config.json"

_TOKEN = "log in by `hf auth login`, or set HF_TOKEN"  # noqa: S105 (a message, not a password)

#: Our error, message and hint for errors of huggingface_hub, the most specific first.
_ERRORS: Mapping[type[Exception], tuple[type[OctaboxError], str, str]] = {
    GatedRepoError: (
        GatedModelError,
        "{repo} is gated: its owner requires an agreement.",
        f"Accept it at {constants.ENDPOINT}/{{repo}}, then {_TOKEN}.",
    ),
    RevisionNotFoundError: (
        ModelNotFoundError,
        "{repo} has no revision {revision!r}.",
        f"Its branches and tags are listed at {constants.ENDPOINT}/{{repo}}/tree/main.",
    ),
    RepositoryNotFoundError: (
        ModelNotFoundError,
        "There is no model {repo} on the Hub, or it is private.",
        f"Check the spelling; if it is private, {_TOKEN}.",
    ),
    OfflineModeIsEnabled: (
        DownloadError,
        "{repo} is not in the cache, and the Hub is disabled.",
        "Unset HF_HUB_OFFLINE, or download the model beforehand.",
    ),
    LocalEntryNotFoundError: (
        DownloadError,
        "{repo} is not in the cache, and the Hub cannot be reached.",
        "Check the network, or download the model beforehand.",
    ),
    EntryNotFoundError: (
        IncompatibleWeightsError,
        f"{{repo}} is not a diffusers model: it has no {INDEX_FILES[0]}.",
        "Choose a repository in the format of diffusers, or a single checkpoint file.",
    ),
    HFValidationError: (
        ModelNotFoundError,
        "{repo!r} is not a valid Hub repository id.",
        "A repository id is an owner, a slash and a name.",
    ),
}

#: The same by HTTP status, for other errors.
_STATUS: Mapping[int, tuple[type[OctaboxError], str, str]] = {
    401: (GatedModelError, "The Hub requires authentication for {repo}.", f"To authenticate, {_TOKEN}."),
    403: (GatedModelError, "The Hub token has no access to {repo}.", "Grant the token read access."),
    429: (DownloadError, "The request limit of the Hub is reached.", f"Wait; for a higher limit, {_TOKEN}."),
}


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
        return model_info(repo).pipeline_tag
    except (OSError, ValueError) as error:
        raise hub_error(error, repo) from error


def _fetch(repo: str, name: str, revision: str | None) -> Path | None:
    """Download a file of a repository; None if it does not exist."""
    try:
        return Path(hf_hub_download(repo, name, revision=revision))
    except LocalEntryNotFoundError as error:
        raise hub_error(error, repo, revision) from error
    except EntryNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise hub_error(error, repo, revision) from error


def hub_error(error: Exception, repo: str, revision: str | None = None) -> OctaboxError:
    """Return our error for an error of huggingface_hub."""
    cause: type[Exception] = type(error)
    if isinstance(error, LocalEntryNotFoundError) and constants.HF_HUB_OFFLINE:
        cause = OfflineModeIsEnabled
    entry = next((_ERRORS[known] for known in _ERRORS if issubclass(cause, known)), None)
    if entry is None and isinstance(error, HfHubHTTPError):
        entry = _STATUS.get(getattr(error.response, "status_code", 0))
    if entry is None:
        reason = str(error).strip().splitlines() or [cause.__name__]
        hint = "Try again later, and check the free disk space."
        return DownloadError(f"{repo} could not be downloaded: {reason[0]}", hint=hint, model=repo)
    error_type, message, hint = entry
    values = {"repo": repo, "revision": revision or "main"}
    return error_type(message.format(**values), hint=hint.format(**values), model=repo)
