"""Identify the caller of a request, to whom options and progress belong, and keep its options."""

from __future__ import annotations

import re
import secrets
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from octabox.security.clients import current_client

#: Cookie by which clients at one address are distinguished; it has no effect on access.
COOKIE = "octabox_caller"

#: Maximum number of callers whose options are kept; those of the caller that has been idle longest are dropped.
MAX_CALLERS = 1000

#: Seconds for which the requests of a caller that polls previews have some.
PREVIEW_SECONDS = 600.0

_COOKIE_VALUE = re.compile(r"[\w-]{16,64}", re.ASCII)


@dataclass(frozen=True)
class Caller:
    """A client.

    Args:
        name: Its name by its credentials or its address.
        session: Its cookie; empty if it has none.
    """

    name: str
    session: str = ""

    def matches(self, other: Caller) -> bool:
        """Return whether a request of another caller may come from this one: one without a cookie may, at one address."""
        if self.session and other.session:
            return self.session == other.session
        return self.name == other.name


def caller_of(request: Request) -> Caller:
    """Return the caller of a request."""
    cookie = request.cookies.get(COOKIE, "")
    return Caller(current_client.get(), cookie if _COOKIE_VALUE.fullmatch(cookie) else "")


def add_cookie(request: Request, response: Response) -> None:
    """Add a cookie to the response of a client that has none."""
    if not caller_of(request).session:
        response.set_cookie(COOKIE, secrets.token_urlsafe(16), httponly=True, samesite="lax")


@dataclass
class CallerState:
    """What is kept of a caller: the options that it has set, and when it last polled a preview."""

    options: dict[str, Any] = field(default_factory=dict)
    polled: float = float("-inf")


class Callers:
    """The states of callers. Each caller has its options, so that one does not change the model of another."""

    def __init__(self) -> None:
        self._states: OrderedDict[str, CallerState] = OrderedDict()

    def options(self, caller: Caller) -> dict[str, Any]:
        """Return the options that a caller has set; those with a cookie override those set before it had one."""
        return {name: value for state in self._known(caller) for name, value in state.options.items()}

    def set_options(self, caller: Caller, options: Mapping[str, Any]) -> None:
        """Set options of a caller."""
        self._state(caller.session or caller.name).options.update(options)

    def note_poll(self, caller: Caller) -> None:
        """Note that a caller reads previews."""
        self._state(caller.session or caller.name).polled = time.monotonic()

    def reads_previews(self, caller: Caller) -> bool:
        """Return whether a caller has recently read previews."""
        return any(time.monotonic() - state.polled < PREVIEW_SECONDS for state in self._known(caller))

    def _known(self, caller: Caller) -> list[CallerState]:
        """Return the states of a caller, that of its cookie last."""
        keys = dict.fromkeys(key for key in (caller.name, caller.session) if key in self._states)
        return [self._states[key] for key in keys]

    def _state(self, key: str) -> CallerState:
        state = self._states.setdefault(key, CallerState())
        self._states.move_to_end(key)
        if len(self._states) > MAX_CALLERS:
            self._states.popitem(last=False)
        return state
