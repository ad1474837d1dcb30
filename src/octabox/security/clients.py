"""The client of the request that is being served, by which waiting requests take turns."""

from __future__ import annotations

import hashlib
from contextvars import ContextVar

#: Name of the client; tasks that a request starts have a copy of it.
current_client: ContextVar[str] = ContextVar("current_client", default="")


#: Priority of the request; of those that wait for a model, the highest is run first.
current_priority: ContextVar[int] = ContextVar("current_priority", default=0)


def client_name(authorization: str | None, address: str | None) -> str:
    """Return the name of a client: by its API key, otherwise by its address.

    Args:
        authorization: Its ``Authorization`` header.
        address: Its address; None if it is not known.
    """
    if authorization:
        # The name may be logged, the key may not.
        return hashlib.sha256(authorization.encode("latin-1", "replace")).hexdigest()[:16]
    return address or ""
