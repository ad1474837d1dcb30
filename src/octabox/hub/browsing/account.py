"""The account of this machine on the Hub: log in, log out, and whose token is used."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, constants
from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError

from octabox.errors import ForbiddenPathError, GatedModelError, InvalidParameterError
from octabox.hub.responses.errors import hub_error
from octabox.hub.responses.fields import mapping_of, text_of
from octabox.hub.responses.messages import (
    ACCOUNT,
    RESPONSE_ERRORS,
    check_proxies,
    hub_api,
    invalid_token,
    is_token,
    not_a_hub,
    token_in_use,
)

#: Variables with a token, which take precedence over that of `octabox login`.
VARIABLES = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")


@dataclass(frozen=True)
class Account:
    """An account on the Hub.

    Args:
        name: Name of the user.
        role: What the token allows, such as ``read``.
        token_name: Name of the token.
        source: Where the token comes from: a variable or a file.
        endpoint: Address of the Hub.
    """

    name: str
    role: str | None
    token_name: str | None
    source: str
    endpoint: str

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON data."""
        return asdict(self)


def find_account(token: str | None = None) -> Account:
    """Return the account of a token, by default of the one in use.

    Raises:
        GatedModelError: There is no token, or the Hub does not accept it.
        DownloadError: The Hub cannot be reached.
    """
    try:
        check_proxies()
        # The token in use is of no account here if another one is given.
        api = hub_api() if token is None else HfApi(endpoint=constants.ENDPOINT, library_name="octabox")
        about = api.whoami(token=token)
    except LocalTokenNotFoundError:
        error = GatedModelError("This machine is not logged in to the Hub.", hint="Log in: `octabox login`.")
        error.code = "login_required"
        raise error from None
    except HfHubHTTPError as error:
        if error.response.status_code in {401, 403}:
            raise (invalid_token() if token is None else _refused_token()) from None
        raise hub_error(error, ACCOUNT) from error
    except RESPONSE_ERRORS as error:
        raise hub_error(error, ACCOUNT) from error
    if (name := text_of(mapping_of(about).get("name"))) is None:
        raise not_a_hub(ACCOUNT)
    access = mapping_of(mapping_of(about.get("auth")).get("accessToken"))
    role, token_name = text_of(access.get("role")), text_of(access.get("displayName"))
    return Account(name, role, token_name, token_source(), constants.ENDPOINT)


def token_source() -> str:
    """Return where the token in use comes from."""
    return next((name for name in VARIABLES if os.environ.get(name)), constants.HF_TOKEN_PATH)


def log_in(token: str) -> Account:
    """Check a token, and keep it in the file of huggingface_hub, which only this user may read.

    Raises:
        InvalidParameterError: It is empty, or no token.
        GatedModelError: The Hub does not accept it.
        ForbiddenPathError: It cannot be written.
    """
    token = token.strip()
    if not token or not is_token(token):
        message = "The token has characters that no token has, such as a space or a special dash."
        hint = f"Copy it again, or create one at {constants.ENDPOINT}/settings/tokens."
        raise InvalidParameterError(message if token else "The token is empty.", hint=hint, parameter="token")
    account = find_account(token)
    try:
        _write_secret(Path(constants.HF_TOKEN_PATH), token)
    except OSError as error:
        message = f"{constants.HF_TOKEN_PATH} cannot be written: {error.strerror}."
        raise ForbiddenPathError(message, hint="Set HF_TOKEN_PATH to another file.") from error
    return account


def _refused_token() -> GatedModelError:
    """Return the error for a new token that the Hub does not accept."""
    hint = f"Copy it again, or create one with read access at {constants.ENDPOINT}/settings/tokens."
    error = GatedModelError("The Hub does not accept this token: it is invalid or expired.", hint=hint)
    error.code = "token_invalid"
    return error


def _write_secret(place: Path, text: str) -> None:
    """Write a file that only this user may read, also while it is written."""
    place.parent.mkdir(parents=True, exist_ok=True)
    temporary = place.with_name(f".{place.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    temporary.replace(place)


def log_out() -> str | None:
    """Delete the tokens of this machine; return the variable that still has one, or None.

    Raises:
        GatedModelError: There is no token.
        ForbiddenPathError: Its file cannot be read or deleted.
    """
    if token_in_use() is None:
        raise GatedModelError("This machine is not logged in to the Hub.", hint="Log in: `octabox login`.")
    for place in (constants.HF_TOKEN_PATH, constants.HF_STORED_TOKENS_PATH):
        try:
            os.unlink(place)  # noqa: PTH108 (the constants are texts)
        except FileNotFoundError:
            continue
        except OSError as error:
            message = f"{place} cannot be deleted: {error.strerror or error}."
            raise ForbiddenPathError(message, hint="Check the permissions of its folder, and log out again.") from error
    return next((name for name in VARIABLES if os.environ.get(name)), None)
