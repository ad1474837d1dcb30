"""The client of the request that is being served, by which waiting requests take turns."""

from __future__ import annotations

import hashlib
from contextvars import ContextVar

#: Name of the client, by valid credentials or else its address; tasks that a request starts have a copy of it.
current_client: ContextVar[str] = ContextVar("current_client", default="")


#: The client whose jobs the request may see; None is those of all clients, as of an administrator or without API keys.
visible_client: ContextVar[str | None] = ContextVar("visible_client", default=None)

#: Priority of the request; of those that wait for a model, the highest is run first.
current_priority: ContextVar[int] = ContextVar("current_priority", default=0)

#: Whether the request is run for a background job, of whose result nobody receives a part twice if it runs again.
in_background: ContextVar[bool] = ContextVar("in_background", default=False)


def may_see(client: str) -> bool:
    """Return whether the request may see the jobs of a client."""
    return visible_client.get() in {None, client}


def client_name(credentials: str) -> str:
    """Return the name of a client that has sent valid credentials; without any, its name is its address.

    Args:
        credentials: The credentials as an ``Authorization`` header, in one form however the client has written it.
    """
    # The name may be logged, the credentials may not.
    return hashlib.sha256(credentials.encode("utf-8", "replace")).hexdigest()[:16]
