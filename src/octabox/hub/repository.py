"""Learn what a model is from its index alone: from a folder, or from a repository on the Hub by that one file."""

from __future__ import annotations

import json
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

__all__ = ["hub_error", "is_hub_id", "model_index", "pipeline_tag", "repository_index", "scheduler_config"]

#: Where a model of diffusers keeps the configuration of its noise scheduler.
SCHEDULER, SCHEDULER_FILE = "scheduler", "scheduler_config.json"

_TOKEN = "log in by `hf auth login`, or set HF_TOKEN"  # noqa: S105 (words, no password)

#: What an answer of the Hub means, the most special first: our error, what happened, and what to do.
_MEANINGS: Mapping[type[Exception], tuple[type[OctaboxError], str, str]] = {
    GatedRepoError: (
        GatedModelError,
        "{repo} is gated: its owner asks for an agreement first.",
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
        "{repo} is not in the cache, and the Hub is switched off.",
        "Take HF_HUB_OFFLINE out of the environment, or fetch the model beforehand.",
    ),
    LocalEntryNotFoundError: (
        DownloadError,
        "{repo} is not in the cache, and the Hub cannot be reached.",
        "Check the network, or fetch the model beforehand.",
    ),
    EntryNotFoundError: (
        IncompatibleWeightsError,
        f"{{repo}} is no model of diffusers: it has no {INDEX_FILES[0]}.",
        "Choose a repository in diffusers' format, or a single checkpoint file.",
    ),
    HFValidationError: (
        ModelNotFoundError,
        "{repo!r} is no name of a repository on the Hub.",
        "Such a name is an owner, a slash and a name.",
    ),
}

#: What refusals by number mean, where the Hub says no more.
_STATUS: Mapping[int, tuple[type[OctaboxError], str, str]] = {
    401: (GatedModelError, "The Hub does not know who asks for {repo}.", f"To prove it, {_TOKEN}."),
    403: (GatedModelError, "The Hub forbids {repo} to this token.", "Give the token the right to read it."),
    429: (DownloadError, "The Hub takes no more requests for now.", f"Wait a while; for a higher limit, {_TOKEN}."),
}


def model_index(source: str | Path, revision: str | None = None) -> dict[str, Any]:
    """Return the index of a model: which pipeline it is for, and what it is made of.

    Args:
        source: A folder, or a repository on the Hub.
        revision: Branch, tag or commit of the repository.

    Raises:
        ModelNotFoundError: There is no such folder, repository or revision.
        GatedModelError: The Hub wants an agreement, a token, or another one.
        DownloadError: The Hub cannot be reached, or is switched off.
        IncompatibleWeightsError: It is there, but it is no model of diffusers.
    """
    if isinstance(source, Path) or Path(source).exists() or not is_hub_id(source):
        return folder_index(Path(source))
    index = repository_index(source, revision)
    if index is None:
        raise hub_error(EntryNotFoundError(INDEX_FILES[0]), source, revision)
    return index


def repository_index(repo: str, revision: str | None = None) -> dict[str, Any] | None:
    """Return the index of a repository on the Hub; None where it has none. The errors are those of `model_index`."""
    for name in INDEX_FILES:
        file = _fetch(repo, name, revision)
        if file is not None:
            return read_index(file, f"{repo}/{name}")
    return None


def scheduler_config(source: str | Path, revision: str | None = None, folder: str = SCHEDULER) -> dict[str, Any] | None:
    """Return the configuration of a model's noise scheduler; None where it has none. The errors are those of `model_index`.

    Args:
        source: A folder, or a repository on the Hub.
        revision: Branch, tag or commit of the repository.
        folder: Where in it the scheduler is.
    """
    name = f"{folder}/{SCHEDULER_FILE}" if folder else SCHEDULER_FILE
    if isinstance(source, Path) or Path(source).exists() or not is_hub_id(source):
        file: Path | None = Path(source) / name
    else:
        file = _fetch(source, name, revision)
    if file is None or not file.is_file():
        return None
    try:
        found = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        hint = "The download may have been cut short: fetch the model again."
        raise IncompatibleWeightsError(f"{source}/{name} is not valid JSON: {error}.", hint=hint) from error
    return found if isinstance(found, dict) else None


def pipeline_tag(repo: str) -> str | None:
    """Return the task that the Hub shows for a repository. The errors are those of `model_index`."""
    try:
        return model_info(repo).pipeline_tag
    except (OSError, ValueError) as error:
        raise hub_error(error, repo) from error


def _fetch(repo: str, name: str, revision: str | None) -> Path | None:
    """Fetch one file of a repository; None where it has no such file."""
    try:
        return Path(hf_hub_download(repo, name, revision=revision))
    except LocalEntryNotFoundError as error:
        raise hub_error(error, repo, revision) from error
    except EntryNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise hub_error(error, repo, revision) from error


def hub_error(error: Exception, repo: str, revision: str | None = None) -> OctaboxError:
    """Return our error for one that huggingface_hub raised."""
    kind: type[Exception] = type(error)
    if isinstance(error, LocalEntryNotFoundError) and constants.HF_HUB_OFFLINE:
        kind = OfflineModeIsEnabled
    meaning = next((_MEANINGS[known] for known in _MEANINGS if issubclass(kind, known)), None)
    if meaning is None and isinstance(error, HfHubHTTPError):
        meaning = _STATUS.get(getattr(error.response, "status_code", 0))
    if meaning is None:
        reason = str(error).strip().splitlines() or [kind.__name__]
        hint = "Try again later, and see whether the disk has room."
        return DownloadError(f"{repo} could not be fetched: {reason[0]}", hint=hint, model=repo)
    ours, message, hint = meaning
    words = {"repo": repo, "revision": revision or "main"}
    return ours(message.format(**words), hint=hint.format(**words), model=repo)
