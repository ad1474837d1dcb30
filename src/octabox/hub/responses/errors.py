"""Map what huggingface_hub raises and what a Hub responds to errors of Octabox, each with a `code` for programs."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass

from huggingface_hub import constants
from huggingface_hub.errors import (
    EntryNotFoundError,
    FileMetadataError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
)

from octabox.errors import (
    DownloadError,
    GatedModelError,
    IncompatibleWeightsError,
    ModelNotFoundError,
    OctaboxError,
    nearest,
)
from octabox.hub.folder import INDEX_FILES, is_hub_id
from octabox.hub.responses.messages import (
    HUB_ERRORS,
    LOGIN,
    Target,
    disk_full,
    hub_api,
    invalid_token,
    make_error,
    no_file,
    not_a_hub,
    not_usable,
    offline_error,
    user_name,
)

#: Exceptions of HTTP libraries before a connection, and on a connection, by name: huggingface_hub has its own library.
_NOT_CONNECTED = frozenset({"ConnectError", "ConnectTimeout", "ProxyError", "UnsupportedProtocol"})
_INTERRUPTED = frozenset({"ReadError", "WriteError", "CloseError", "RemoteProtocolError", "TimeoutException"})

#: Numbers of errors of a cache that cannot be read or written.
_DENIED = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})


@dataclass(frozen=True)
class Refusal:
    """A response of a Hub with an error.

    Args:
        status: Its HTTP status.
        headers: Its headers, in lower case.
        authenticated: Whether the request had a token.
    """

    status: int
    headers: Mapping[str, str]
    authenticated: bool

    @property
    def code(self) -> str:
        """The Hub's code, such as ``GatedRepo``."""
        return self.headers.get("x-error-code", "")

    @property
    def message(self) -> str:
        """The Hub's message."""
        return self.headers.get("x-error-message", "")


def hub_error(error: Exception, repo: str, revision: str | None = None, file: str | None = None) -> OctaboxError:
    """Return our error for an exception of huggingface_hub, of an HTTP library or of the system."""
    target, chain = Target(repo, revision, file), _chain(error)
    if (known := next((each for each in chain if isinstance(each, OctaboxError)), None)) is not None:
        return known
    if any(isinstance(each, OfflineModeIsEnabled) for each in chain) or (
        constants.HF_HUB_OFFLINE and isinstance(error, LocalEntryNotFoundError)
    ):
        return offline_error(repo)
    for each in chain:
        if (response := getattr(each, "response", None)) is not None:
            request = getattr(response, "request", None)
            token = getattr(request, "headers", {}).get("authorization")
            headers = {str(name).lower(): str(value) for name, value in response.headers.items()}
            code = _code_of(each)
            return refusal_error(Refusal(response.status_code, code | headers, bool(token)), target)
    for each in chain:
        if (found := _system_error(each, target)) is not None:
            return found
    return _other_error(error, target)


def _chain(error: BaseException) -> list[BaseException]:
    """Return an exception and its causes, which huggingface_hub hides the actual error in."""
    chain: list[BaseException] = []
    following: BaseException | None = error
    while following is not None and following not in chain:
        chain.append(following)
        following = following.__cause__
    return chain


def _code_of(error: BaseException) -> dict[str, str]:
    """Return the Hub's code by the class of an exception, for a response without one."""
    codes = {"GatedRepoError": "GatedRepo", "RevisionNotFoundError": "RevisionNotFound"}
    codes |= {"RepositoryNotFoundError": "RepoNotFound", "RemoteEntryNotFoundError": "EntryNotFound"}
    name = type(error).__name__
    return {"x-error-code": codes[name]} if name in codes else {}


def _system_error(error: BaseException, target: Target) -> OctaboxError | None:
    """Return our error for an exception of the network or of the file system; None for any other."""
    names = {cls.__name__ for cls in type(error).__mro__}
    if isinstance(error, FileMetadataError | json.JSONDecodeError):
        return not_a_hub(target.repo)
    if isinstance(error, HFValidationError):
        message = f"{target.repo!r} is not a valid Hub repository id."
        hint = "A repository id is an owner, a slash and a name."
        return make_error(ModelNotFoundError, "model_not_found", message, hint, target)
    if isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT, *_DENIED}:
        return not_usable(target.repo, error) if error.errno in _DENIED else disk_full(target.repo)
    if names & _NOT_CONNECTED or isinstance(error, ConnectionRefusedError):
        subject = f"{target.repo} is not in the cache, and" if is_hub_id(target.repo) else "The Hub at"
        message = f"{subject} {constants.ENDPOINT} cannot be reached."
        hint = "Check the network and HF_ENDPOINT; `octabox models` lists what is in the cache."
        return make_error(DownloadError, "hub_unreachable", message, hint, target)
    if names & _INTERRUPTED or isinstance(error, ConnectionError):
        message = f"The connection was interrupted while {target.repo} was downloaded."
        hint = f"Continue where it stopped: `octabox pull {target.repo}`."
        if not target.is_download:
            message, hint = f"The connection was interrupted while {target.repo} was read.", "Repeat the command."
        return make_error(DownloadError, "connection_reset", message, hint, target)
    return None


def _other_error(error: Exception, target: Target) -> OctaboxError:
    """Return our error for an exception that is neither a response nor of the system."""
    if isinstance(error, LocalEntryNotFoundError):
        message = f"{target.repo} is not in the cache, and the Hub cannot be reached."
        hint = "Check the network, or download the model beforehand: `octabox pull`."
        return make_error(DownloadError, "hub_unreachable", message, hint, target)
    if isinstance(error, EntryNotFoundError):
        return _no_entry(target)
    if isinstance(error, KeyError | TypeError):
        return not_a_hub(target.repo)
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
    if any(cls.__name__ == "LocalProtocolError" for each in _chain(error) for cls in type(each).__mro__):
        reason = "the request is not valid"  # Its message shows the header, which may be that of the token.
    done, hint = "downloaded", "Try again later, and check the free disk space."
    if not target.is_download:
        done, hint = "read", "Try again later."
    return make_error(DownloadError, "download_failed", f"{target.repo} could not be {done}: {reason}", hint, target)


def refusal_error(refusal: Refusal, target: Target) -> OctaboxError:
    """Return the error for a response of a Hub."""
    if refusal.status == 401 and refusal.authenticated and refusal.code != "RepoNotFound":  # noqa: PLR2004 (of HTTP)
        return invalid_token(target.repo)
    by_code: Mapping[str, Callable[[], OctaboxError]] = {
        "GatedRepo": lambda: _gated(refusal, target),
        "RevisionNotFound": lambda: no_revision(target),
        "EntryNotFound": lambda: _no_entry(target),
        "RepoNotFound": lambda: _no_repository(refusal, target),
    }
    if refusal.code in by_code:
        return by_code[refusal.code]()
    if "is disabled" in refusal.message:
        message = f"The Hub has disabled {target.repo}."
        return make_error(DownloadError, "model_disabled", message, f"Its page states why: {target.page}.", target)
    return _by_status(refusal, target)


def _by_status(refusal: Refusal, target: Target) -> OctaboxError:
    """Return the error for a response without a code of the Hub."""
    repo = target.repo
    if refusal.status == 401:  # noqa: PLR2004 (of HTTP)
        message, hint = f"The Hub requires a token for {repo}.", f"Set HF_TOKEN, or {LOGIN}."
        return make_error(GatedModelError, "login_required", message, hint, target)
    if refusal.status == 403:  # noqa: PLR2004
        message, hint = f"The Hub token has no access to {repo}.", "Grant the token read access in its settings."
        return make_error(GatedModelError, "token_without_access", message, hint, target)
    if refusal.status == 404:  # noqa: PLR2004
        return _no_repository(refusal, target)
    if refusal.status == 429:  # noqa: PLR2004
        wait = wait_seconds(refusal.headers)
        when = f"Try again in {wait} seconds" if wait else "Try again later"
        more = "" if refusal.authenticated else f"; for a higher limit, {LOGIN}"
        message = f"The request limit of the Hub is reached, so {repo} is not available now."
        limited = make_error(DownloadError, "rate_limited", message, f"{when}{more}.", target)
        limited.retry_after = wait or None
        return limited
    message = f"The Hub responded with status {refusal.status} for {repo}."
    if refusal.message:
        message = f"{message[:-1]}: {refusal.message.rstrip('.')}."
    return make_error(DownloadError, "hub_unavailable", message, "Try again later.", target)


def wait_seconds(headers: Mapping[str, str]) -> int:
    """Return the seconds to wait by the headers of a response; 0 if they do not state it."""
    seconds = headers.get("retry-after") or headers.get("ratelimit", "").rpartition("t=")[2]
    return int(seconds) if seconds.isdecimal() else 0


def _gated(refusal: Refusal, target: Target) -> OctaboxError:
    """Return the error for a gated model: what is missing, and where to get it."""
    repo, page, about = target.repo, target.page, refusal.message
    if refusal.status == 401:  # noqa: PLR2004 (of HTTP)
        message = f"{repo} is gated: its owner requires an agreement, and you are not logged in."
        return make_error(GatedModelError, "gated_login", message, f"Accept its terms at {page}, then {LOGIN}.", target)
    if "awaiting" in about:
        message = f"{repo} is gated, and the request of {user_name()} awaits the approval of its owner."
        hint = f"Its state is at {page}. Repeat the command once it is approved."
        return make_error(GatedModelError, "gated_pending", message, hint, target)
    if "rejected" in about:
        message = f"{repo} is gated, and its owner has rejected the request of {user_name()}."
        return make_error(
            GatedModelError, "gated_rejected", message, f"Its page is {page}; choose another model.", target
        )
    message = f"{repo} is gated, and {user_name()} has not accepted its terms."
    hint = f"Accept them at {page}, then repeat the command."
    return make_error(GatedModelError, "gated_agreement", message, hint, target)


def _no_repository(refusal: Refusal, target: Target) -> OctaboxError:
    """Return the error for a repository that does not exist or is private, which the Hub does not distinguish."""
    if not target.is_download:
        return not_a_hub(target.repo)
    if refusal.authenticated:
        message = f"There is no model {target.repo} on the Hub that {user_name()} may read."
        hint = "Check the spelling; if it is private, ask its owner for access."
    else:
        message = f"There is no model {target.repo} on the Hub, or it is private."
        hint = f"Check the spelling; if it is private, {LOGIN}."
    return make_error(ModelNotFoundError, "model_not_found", message, hint, target)


def no_revision(target: Target) -> OctaboxError:
    """Return the error for an unknown revision, with similar branches and tags."""
    revision, names = target.revision or "main", list[str]()
    with suppress(*HUB_ERRORS):
        refs = hub_api().list_repo_refs(target.repo)
        names = [each.name for each in (*refs.branches, *refs.tags)]
    like = nearest(revision, names) or names[:5]
    hint = f"Did you mean {' or '.join(like)}?" if like else f"Its branches and tags are at {target.page}/tree/main."
    message = f"{target.repo} has no revision {revision!r}."
    return make_error(ModelNotFoundError, "revision_not_found", message, hint, target, choices=names)


def _no_entry(target: Target) -> OctaboxError:
    """Return the error for a file that a repository does not have."""
    if target.file is None or target.file in INDEX_FILES:
        message = f"{target.repo} is not a diffusers model: it has no {INDEX_FILES[0]}."
        hint = f"For a single file: `octabox pull {target.repo} --file NAME`; `octabox inspect` lists its files."
        return make_error(IncompatibleWeightsError, "not_a_diffusers_model", message, hint, target)
    return no_file(target.repo, target.file, ())
