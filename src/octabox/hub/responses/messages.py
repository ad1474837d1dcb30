"""Messages about the Hub: each states what happened, to which repository, and the next command."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.request import getproxies

import httpx
from huggingface_hub import HfApi, constants, get_token
from huggingface_hub.errors import HfHubHTTPError

from octabox.errors import DownloadError, ForbiddenPathError, GatedModelError, ModelNotFoundError, OctaboxError, nearest

#: What functions of huggingface_hub raise: errors of its HTTP library, of the system, and of their arguments.
HUB_ERRORS: tuple[type[Exception], ...] = (HfHubHTTPError.__bases__[0], OSError, ValueError)

#: The same, and what its classes raise for a response that is not of a Hub.
RESPONSE_ERRORS: tuple[type[Exception], ...] = (*HUB_ERRORS, KeyError, TypeError, AttributeError)

#: A class of errors.
Failure = TypeVar("Failure", bound=OctaboxError)

#: What is requested of the Hub that is not a repository.
MODEL_LIST, ACCOUNT = "the list of models", "the account"

#: What to do without a token, at the end of a hint.
LOGIN = "log in: `octabox login`"


@dataclass(frozen=True)
class Target:
    """What is requested of the Hub.

    Args:
        repo: The repository.
        revision: Its branch, tag or commit; None is the default branch.
        file: A file of it.
    """

    repo: str
    revision: str | None = None
    file: str | None = None

    @property
    def source(self) -> str:
        """The repository as commands take it, with its revision."""
        return f"{self.repo}@{self.revision}" if self.revision else self.repo

    @property
    def is_download(self) -> bool:
        """Whether it is a repository or a file; the Hub has other things as well, such as the list of models."""
        return self.repo not in (MODEL_LIST, ACCOUNT)

    @property
    def page(self) -> str:
        """The page of the repository."""
        return f"{constants.ENDPOINT}/{self.repo}"


def no_file(repo: str, file: str, names: tuple[str, ...]) -> OctaboxError:
    """Return the error for a file that a repository does not have, with similar names."""
    like = nearest(file, names) or sorted(names)[:5]
    hint = f"Did you mean {' or '.join(like)}?" if like else f"`octabox inspect {repo}` lists its files."
    return make_error(
        ModelNotFoundError, "file_not_found", f"{repo} has no file {file!r}.", hint, Target(repo), choices=names
    )


def unsafe_file(repo: str, file: str) -> OctaboxError:
    """Return the error for a needed file that would be stored outside of its folder, or that has no valid checksum."""
    message = f"{constants.ENDPOINT} lists a file of {repo} that cannot be stored safely: {file!r}."
    hint = "Its name leads out of the folder of the model, or its checksum is missing; check HF_ENDPOINT."
    return make_error(DownloadError, "unsafe_file", message, hint, Target(repo))


def invalid_token(repo: str | None = None) -> OctaboxError:
    """Return the error for a token in use that the Hub does not accept, which it refuses for public repositories too."""
    place, remove = _token_place()
    so = f", so that {repo} cannot be read, even if it is public" if repo else ""
    message = f"The Hub token {place} is invalid or expired{so}."
    hint = f"Log in with a new token: `octabox login`. Public models need none: {remove}."
    return make_error(GatedModelError, "token_invalid", message, hint, Target(repo or ACCOUNT))


def check_token() -> None:
    """Check the token in use, so that no request fails with an error that shows it.

    Raises:
        GatedModelError: It has characters that no request can send.
        ForbiddenPathError: Its file cannot be read.
    """
    token = token_in_use()
    if token is not None and not is_token(token):
        place, remove = _token_place()
        message = f"The Hub token {place} has characters that no token has, such as a space or a special dash."
        hint = f"Log in with a new token: `octabox login`. Public models need none: {remove}."
        raise make_error(GatedModelError, "token_invalid", message, hint, Target(ACCOUNT))


def check_proxies() -> None:
    """Check the proxies of the environment, which the HTTP libraries refuse with exceptions of several classes.

    Raises:
        DownloadError: The URL of a proxy is not valid, or has another scheme than http, https, socks5 and socks5h.
    """
    proxies = getproxies()
    if "*" in proxies.get("no", "").split(","):
        return
    for kind in ("http", "https", "all"):
        url = proxies.get(kind)
        try:
            httpx.Proxy(url if not url or "://" in url else f"http://{url}") if url else None
        except (ValueError, httpx.InvalidURL) as error:
            name = next((each for each in os.environ if each.lower() == f"{kind}_proxy"), f"{kind}_proxy")
            # The rest of the URL may have a password.
            message = f"The proxy in {name} cannot be used: '{str(url).partition(':')[0]}:...' is not a URL of a proxy."
            hint = f"Set {name} to a URL with http, https, socks5 or socks5h, such as socks5://127.0.0.1:1080; or unset it."
            raise make_error(DownloadError, "proxy_not_usable", message, hint, Target(MODEL_LIST)) from error


def token_in_use() -> str | None:
    """Return the token in use; None if there is none.

    Raises:
        ForbiddenPathError: Its file cannot be read.
    """
    try:
        return get_token()
    except OSError as error:
        message = f"The file of the Hub token cannot be read: {constants.HF_TOKEN_PATH}: {error.strerror or error}."
        raise ForbiddenPathError(
            message, hint="Check its permissions, or set HF_TOKEN_PATH to another file."
        ) from error


def is_token(text: str) -> bool:
    """Return whether a text can be a token: visible characters of ASCII."""
    return text.isascii() and text.isprintable() and " " not in text


def _token_place() -> tuple[str, str]:
    """Return where the token in use is, and how to remove it."""
    in_variable = bool(os.environ.get("HF_TOKEN") or os.environ.get("HUGGING_FACE_HUB_TOKEN"))
    return ("in HF_TOKEN", "unset HF_TOKEN") if in_variable else ("of this machine", "`octabox logout`")


def offline_error(repo: str, missing: tuple[str, ...] = ()) -> OctaboxError:
    """Return the error for a model that is not complete in the cache while the Hub is disabled."""
    if not Target(repo).is_download:
        message, hint = f"The Hub is disabled by HF_HUB_OFFLINE, and only the Hub has {repo}.", "Unset HF_HUB_OFFLINE."
        return make_error(DownloadError, "offline", message, hint, Target(repo))
    hint = f"Unset HF_HUB_OFFLINE, or download it on another machine: `octabox pull {repo}`."
    if missing:
        names = ", ".join(missing[:3]) + (f" and {len(missing) - 3} more" if len(missing) > 3 else "")  # noqa: PLR2004
        message = f"{repo} is not complete in the cache, and the Hub is disabled: it lacks {names}."
        return make_error(DownloadError, "offline_incomplete", message, hint, Target(repo), choices=missing)
    return make_error(
        DownloadError, "offline", f"{repo} is not in the cache, and the Hub is disabled.", hint, Target(repo)
    )


def not_a_hub(repo: str) -> OctaboxError:
    """Return the error for a server that does not respond as a Hub, such as the page of a proxy."""
    done = "downloaded" if Target(repo).is_download else "read"
    message = f"{constants.ENDPOINT} does not respond as a Hub, so {repo} cannot be {done}."
    hint = "Check HF_ENDPOINT, and whether the network has a login page or a proxy."
    return make_error(DownloadError, "not_a_hub", message, hint, Target(repo))


def disk_full(repo: str, needed: int = 0, free: int = 0, place: str = "") -> OctaboxError:
    """Return the error for a disk without space for a model, by default that of the cache."""
    sizes = f": {needed / 1e9:.2f} GB are needed, and {free / 1e9:.2f} GB are free" if needed else ""
    message = f"The disk of {place or constants.HF_HUB_CACHE} has no space for {repo}{sizes}."
    hint = "Remove a model, `octabox models` lists their sizes: `octabox rm NAME`; or set HF_HOME to another disk."
    hint = hint.replace("HF_HOME", "OCTABOX_CACHE_DIR") if place else hint
    return make_error(DownloadError, "disk_full", message, hint, Target(repo))


def not_usable(repo: str, error: OSError) -> OctaboxError:
    """Return the error for a file or folder of the cache that cannot be read or written."""
    place = error.filename or constants.HF_HUB_CACHE
    message = f"The cache cannot be used for {repo}: {place}: {error.strerror or error}."
    hint = "Check the permissions, or set HF_HOME to a folder that this user can read and write."
    return make_error(DownloadError, "cache_not_usable", message, hint, Target(repo))


def checksum_error(repo: str, file: str) -> OctaboxError:
    """Return the error for a file whose content is not that of its checksum."""
    message = f"The checksum of {file} of {repo} is wrong, so the download was deleted."
    hint = f"Download it again: `octabox pull {repo}`. If it happens again, a proxy changes the file."
    return make_error(DownloadError, "checksum_mismatch", message, hint, Target(repo))


def user_name() -> str:
    """Return the name of the user of the token, for messages."""
    with suppress(*RESPONSE_ERRORS):
        return f"user {hub_api().whoami()['name']}"
    return "your account"


def hub_api() -> HfApi:
    """Return a client of the configured Hub.

    Raises:
        GatedModelError: The token in use has characters that no request can send.
        DownloadError: A proxy in the environment cannot be used.
    """
    check_token()
    check_proxies()
    return HfApi(endpoint=constants.ENDPOINT, library_name="octabox")


def make_error(
    error_type: type[Failure], code: str, message: str, hint: str, target: Target, choices: Any = ()
) -> Failure:
    """Return an error about a repository, with its code."""
    error = error_type(message, hint=hint, model=target.repo if target.is_download else None, choices=choices)
    error.code = code
    return error
