"""In which form a client wants what is made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from octabox.errors import InvalidParameterError

#: Ways to answer.
RESPONSE_FORMATS = ("url", "b64_json")


def response_format_of(given: str | Mapping[str, Any] | None) -> str:
    """Return how to answer; a link, where nothing is said.

    Raises:
        InvalidParameterError: There is no such way.
    """
    wanted = given.get("type") if isinstance(given, Mapping) else given
    if wanted in (None, ""):
        return RESPONSE_FORMATS[0]
    if wanted not in RESPONSE_FORMATS:
        raise InvalidParameterError(
            f"'response_format' must be url or b64_json, not {str(wanted)[:50]!r}.",
            parameter="response_format",
            choices=RESPONSE_FORMATS,
        )
    return str(wanted)
