"""Get the bytes of a medium that a client gave: as they are, as base64, as a data URI, or by URL."""

from __future__ import annotations

import base64
import binascii
import re
from urllib.parse import unquote_to_bytes, urljoin

import httpx

from octabox.errors import ForbiddenUrlError, MediaError
from octabox.media.images import MediaLimits
from octabox.security.urls import UrlGuard
from octabox.types import Source

#: Redirects that are followed.
REDIRECTS = 5

_DATA_URI = re.compile(r"data:[^,]*?(;base64)?,", re.IGNORECASE)
_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*):", re.IGNORECASE)


class Fetcher:
    """Gets the bytes of media.

    Args:
        limits: How large a file may be.
        guard: Decides which URLs may be fetched, and makes the connections.
        timeout: Seconds that a fetch may take between two pieces of an answer.
    """

    def __init__(self, limits: MediaLimits, guard: UrlGuard | None = None, timeout: float = 30.0) -> None:
        self._limits, self._guard, self._timeout = limits, guard or UrlGuard(), timeout

    async def fetch(self, source: Source, *, parameter: str) -> bytes:
        """Return the bytes of a medium.

        Raises:
            MediaError: It is no base64, no answer came, or it is too large.
            ForbiddenUrlError: The URL leads where it must not.
        """
        if isinstance(source, bytes):
            return source
        text = source.strip()
        if text.lower().startswith(("http://", "https://")):
            return await self._download(text, parameter)
        if match := _DATA_URI.match(text):
            payload = text[match.end() :]
            return _from_base64(payload, parameter) if match[1] else unquote_to_bytes(payload)
        if match := _SCHEME.match(text):
            hint = "Only http and https are fetched; a file can be sent as base64 or as a data URI."
            raise ForbiddenUrlError(f"'{parameter}' has a URL with '{match[1]}:'.", hint=hint, parameter=parameter)
        return _from_base64(text, parameter)

    async def _download(self, url: str, parameter: str) -> bytes:
        """Fetch a URL, checking every address on the way."""
        transport = self._guard.transport()
        async with httpx.AsyncClient(transport=transport, timeout=self._timeout, trust_env=False) as client:
            for _ in range(REDIRECTS + 1):
                self._guard.check_form(url, parameter)
                try:
                    async with client.stream("GET", url) as response:
                        if response.has_redirect_location:
                            url = urljoin(url, response.headers["location"])
                            continue
                        return await self._read(response, url, parameter)
                except ForbiddenUrlError as error:
                    error.parameter = parameter
                    raise
                except (httpx.HTTPError, httpx.InvalidURL) as error:
                    what = str(error) or type(error).__name__
                    raise MediaError(
                        f"'{url}' for '{parameter}' gave no answer: {what}.", parameter=parameter
                    ) from error
        raise MediaError(f"'{parameter}' has a URL with more than {REDIRECTS} redirects.", parameter=parameter)

    async def _read(self, response: httpx.Response, url: str, parameter: str) -> bytes:
        if not response.is_success:
            raise MediaError(f"'{url}' for '{parameter}' answered {response.status_code}.", parameter=parameter)
        content = bytearray()
        async for piece in response.aiter_bytes():
            content += piece
            if len(content) > self._limits.max_bytes:
                limit = self._limits.max_bytes
                raise MediaError(f"'{url}' for '{parameter}' is larger than {limit} bytes.", parameter=parameter)
        return bytes(content)


def _from_base64(text: str, parameter: str) -> bytes:
    """Decode base64 of either alphabet, with or without padding and line breaks."""
    compact = "".join(text.split()).rstrip("=").replace("-", "+").replace("_", "/")
    try:
        content = base64.b64decode(compact + "=" * (-len(compact) % 4), validate=True)
    except (binascii.Error, ValueError):
        content = b""
    if not content:
        hint = "Send base64, a data URI or an http(s) URL."
        raise MediaError(f"'{parameter}' is no base64 and no URL.", hint=hint, parameter=parameter)
    return content
