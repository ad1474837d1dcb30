"""Check the credentials of a request: HTTP Basic authentication as in the web UI, or an API key."""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Callable

from octabox.config.settings import Settings
from octabox.errors import AuthenticationError
from octabox.security.keys import ApiKeys

#: Checks the ``Authorization`` header of a request, and returns its valid credentials; None where all requests are accepted.
Check = Callable[[str | None], str | None]


def credentials_check(settings: Settings) -> Check:
    """Return the check of the ``Authorization`` header; without users and keys all requests are accepted.

    Some clients can only send a user and a password, so that an API key is valid as the password of any user.
    """
    keys = [key.get_secret_value() for key in settings.accepted_keys]
    users = [user.get_secret_value().encode() for user in settings.a1111_auth]
    bearer = ApiKeys(keys)

    def check(authorization: str | None) -> str | None:
        if not keys and not users:
            return None
        sent = _basic_credentials(authorization)
        if sent is not None:
            password = sent.partition(b":")[2]
            valid = [f"Basic {user.decode()}" for user in users if hmac.compare_digest(sent, user)]
            # With any user, it is the client of the key.
            valid += [f"Bearer {key}" for key in keys if hmac.compare_digest(password, key.encode())]
            if valid:
                return valid[0]
            raise AuthenticationError("The user or the password is wrong.", hint="Send those of `a1111_auth`.")
        if keys and authorization:
            return bearer.check(authorization)
        raise AuthenticationError(
            "The user and the password are missing.", hint="Send them by HTTP Basic authentication, or send an API key."
        )

    return check


def _basic_credentials(authorization: str | None) -> bytes | None:
    """Return ``user:password`` of a header (RFC 7617); None if it has another scheme."""
    scheme, _, encoded = (authorization or "").strip().partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        return base64.b64decode(encoded.strip(), validate=True)
    except (binascii.Error, ValueError):
        return b""
