"""The client of the request that is being served, by which waiting requests take turns."""

from __future__ import annotations

import hashlib
from contextvars import ContextVar

#: Name of the client; tasks that a request starts have a copy of it.
current_client: ContextVar[str] = ContextVar("current_client", default="")


#: The client whose jobs the request may see; None is those of all clients, as of an administrator or without API keys.
visible_client: ContextVar[str | None] = ContextVar("visible_client", default=None)

#: Priority of the request; of those that wait for a model, the highest is run first.
current_priority: ContextVar[int] = ContextVar("current_priority", default=0)


def may_see(client: str) -> bool:
    """Return whether the request may see the jobs of a client."""
    return visible_client.get() in {None, client}


def client_name(authorization: str | None, address: str | None) -> str:
    """Return the name of a client: by its API key, otherwise by its address.

    Args:
        authorization: Its ``Authorization`` header.
        address: Its address; None if it is not known.
    """
    if authorization:
        scheme, _, credentials = authorization.strip().partition(" ")
        if scheme.lower() == "bearer":  # One key is one client, however its header is written.
            authorization = f"Bearer {credentials.strip()}"
        # The name may be logged, the key may not.
        return hashlib.sha256(authorization.encode("latin-1", "replace")).hexdigest()[:16]
    return address or ""
