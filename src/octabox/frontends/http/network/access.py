"""Who may use the routes of administrators: those that change the disk of the server, or show its settings and its log."""

from __future__ import annotations

from fastapi import Request

from octabox.config.settings import Settings
from octabox.errors import AuthenticationError, SecurityError
from octabox.security.hosts import is_loopback
from octabox.security.keys import ApiKeys


class AdminAccess:
    """Accepts requests with an admin key; without any key, those to a server that only this machine reaches.

    Args:
        settings: Settings of the server.
    """

    def __init__(self, settings: Settings) -> None:
        self._keys = ApiKeys(key.get_secret_value() for key in settings.admin_keys)
        self._has_keys = bool(settings.admin_keys)
        self._is_open = not settings.api_keys and is_loopback(settings.host)

    async def __call__(self, request: Request) -> None:
        """Check a request.

        Raises:
            AuthenticationError: It has no valid admin key.
            SecurityError: The server has no admin keys, but needs them.
        """
        if self._has_keys:
            try:
                self._keys.check(request.headers.get("authorization"))
            except AuthenticationError as error:
                error.message = "This route requires an admin key."
                raise
        elif not self._is_open:
            message = "This route requires an admin key, and the server has none."
            raise SecurityError(message, hint="Set `admin_keys` (OCTABOX_ADMIN_KEYS) and send one as the API key.")
