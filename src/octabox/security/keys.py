"""API keys of the server."""

from __future__ import annotations

import hmac
from collections.abc import Iterable

from octabox.errors import AuthenticationError, ConfigError


class ApiKeys:
    """The keys that clients may show; with none, everyone may ask.

    Args:
        keys: The keys.

    Raises:
        ConfigError: A key is empty: it would open the server to everyone without saying so.
    """

    def __init__(self, keys: Iterable[str] = ()) -> None:
        self._keys = tuple(key.encode() for key in keys)
        if not all(key.strip() for key in self._keys):
            raise ConfigError(
                "An API key is empty.", hint="Leave `api_keys` out, if all may ask.", parameter="api_keys"
            )

    def check(self, authorization: str | None) -> None:
        """Check a request's ``Authorization`` header (RFC 6750).

        Raises:
            AuthenticationError: It shows no key of ours.
        """
        if not self._keys:
            return
        scheme, _, shown = (authorization or "").strip().partition(" ")
        # Headers come as Latin-1 whatever bytes the client sent.
        key = shown.strip().encode("latin-1", errors="replace")
        # Every key is compared, in constant time, so that the time of an answer tells nothing.
        matches = [hmac.compare_digest(key, ours) for ours in self._keys]
        if scheme.lower() != "bearer" or not any(matches):
            what = "is wrong" if key else "is missing"
            raise AuthenticationError(f"The API key {what}.", hint="Send it as 'Authorization: Bearer KEY'.")
