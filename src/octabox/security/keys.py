"""API keys of the server."""

from __future__ import annotations

import hmac
from collections.abc import Iterable

from octabox.errors import AuthenticationError, ConfigError


class ApiKeys:
    """The accepted API keys; without any, all requests are accepted.

    Args:
        keys: The keys.

    Raises:
        ConfigError: A key is empty, which would accept all requests.
    """

    def __init__(self, keys: Iterable[str] = ()) -> None:
        self._keys = tuple(key.encode() for key in keys)
        if not all(key.strip() for key in self._keys):
            raise ConfigError(
                "An API key is empty.", hint="To accept all requests, remove `api_keys`.", parameter="api_keys"
            )

    def check(self, authorization: str | None) -> str | None:
        """Check a request's ``Authorization`` header (RFC 6750), and return it in the form ``Bearer KEY``; None without keys.

        Raises:
            AuthenticationError: It has no valid key.
        """
        if not self._keys:
            return None
        scheme, _, credentials = (authorization or "").strip().partition(" ")
        # Headers are decoded as Latin-1, whatever bytes the client sent.
        key = credentials.strip().encode("latin-1", errors="replace")
        # Every key is compared in constant time, so that the response time reveals nothing.
        matches = [valid_key for valid_key in self._keys if hmac.compare_digest(key, valid_key)]
        if scheme.lower() != "bearer" or not matches:
            reason = "is wrong" if key else "is missing"
            raise AuthenticationError(f"The API key {reason}.", hint="Send it as 'Authorization: Bearer KEY'.")
        return f"Bearer {matches[0].decode()}"
