"""Fetch the bytes of input media: raw bytes, base64, data URIs, or URLs."""

from __future__ import annotations

import asyncio
import base64
import binascii
import re
from urllib.parse import unquote_to_bytes, urljoin

import httpx

from octabox.errors import ForbiddenUrlError, MediaError
from octabox.media.limits import MediaLimits
from octabox.security.urls import UrlGuard
from octabox.types import Source

#: Maximum number of redirects.
MAX_REDIRECTS = 5

#: Maximum length of a URL scheme; base64 has no colons, but may be very long.
MAX_SCHEME = 32

HINT = "Send base64, a data URI or an http(s) URL."

_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*):", re.IGNORECASE)


class Fetcher:
    """Fetches the bytes of media.

    Args:
        limits: Limits of the input.
        guard: Checks URLs and opens connections.
        timeout: Total time of a fetch in seconds.
    """

    def __init__(self, limits: MediaLimits, guard: UrlGuard | None = None, timeout: float = 30.0) -> None:
        self.limits = limits
        self._guard, self._timeout = guard or UrlGuard(), timeout

    async def fetch(self, source: Source, *, parameter: str) -> bytes:
        """Fetch the bytes of a medium.

        Raises:
            MediaError: The base64 is invalid, the request failed, or the file is too large.
            ForbiddenUrlError: The URL is not allowed.
        """
        if isinstance(source, bytes):
            return source
        text = source.strip()
        scheme = _SCHEME.match(text[:MAX_SCHEME])
        kind = scheme[1].lower() if scheme else ""
        if kind in ("http", "https"):
            return await self._fetch_url(text, parameter)
        if kind and kind != "data":
            hint = "Only http and https are supported; send a file as base64 or as a data URI."
            raise ForbiddenUrlError(
                f"'{parameter}' has a URL with the scheme '{kind}:'.", hint=hint, parameter=parameter
            )
        # In a thread, since decoding a large text would block the event loop.
        return await asyncio.to_thread(decode_text, text, parameter)

    async def _fetch_url(self, url: str, parameter: str) -> bytes:
        try:
            return await asyncio.wait_for(self._follow(url, parameter), self._timeout)
        except asyncio.TimeoutError:
            raise _fetch_error(url, parameter, f"it took more than {self._timeout:g} seconds") from None
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            # A ValueError is raised for a host that is not a valid name, also that of a redirect.
            raise _fetch_error(url, parameter, str(error) or type(error).__name__) from error
        except ForbiddenUrlError as error:
            error.parameter = parameter
            raise

    async def _follow(self, url: str, parameter: str) -> bytes:
        """Fetch a URL, with a check of each redirect."""
        for _ in range(MAX_REDIRECTS + 1):
            self._guard.check_form(url)
            # A new client for each request, so that no connection is reused for another host with the same address.
            client = httpx.AsyncClient(transport=self._guard.transport(), timeout=self._timeout, trust_env=False)
            async with client, client.stream("GET", url, headers={"accept-encoding": "identity"}) as response:
                if not response.has_redirect_location:
                    return await self._read(response, url, parameter)
                url = urljoin(url, response.headers["location"])
        raise MediaError(f"'{parameter}' has a URL with more than {MAX_REDIRECTS} redirects.", parameter=parameter)

    async def _read(self, response: httpx.Response, url: str, parameter: str) -> bytes:
        """Read a response up to the size limit; compressed responses are refused, since their size is unknown."""
        if not response.is_success:
            raise MediaError(f"'{url}' for '{parameter}' returned status {response.status_code}.", parameter=parameter)
        if response.headers.get("content-encoding", "identity") != "identity":
            raise MediaError(f"'{url}' for '{parameter}' returned a compressed response.", parameter=parameter)
        content = bytearray()
        async for chunk in response.aiter_bytes():
            content += chunk
            if len(content) > self.limits.max_bytes:
                limit = self.limits.max_bytes
                raise MediaError(f"'{url}' for '{parameter}' is larger than {limit} bytes.", parameter=parameter)
        return bytes(content)


def _fetch_error(url: str, parameter: str, why: str) -> MediaError:
    return MediaError(f"'{url}' for '{parameter}' could not be fetched: {why}.", parameter=parameter)


def decode_text(text: str, parameter: str) -> bytes:
    """Decode a data URI (RFC 2397), or base64 without one.

    Raises:
        MediaError: The text is neither.
    """
    if text[:5].lower() != "data:":
        return _from_base64(text, parameter)
    head, comma, payload = text.partition(",")
    if not comma:
        raise MediaError(f"'{parameter}' has a data URI without a comma.", parameter=parameter)
    if head.rpartition(";")[2].strip().lower() == "base64":
        return _from_base64(unquote_to_bytes(payload).decode("latin-1"), parameter)
    return unquote_to_bytes(payload)


def _from_base64(text: str, parameter: str) -> bytes:
    """Decode base64 of either alphabet (RFC 4648), with or without padding and line breaks."""
    compact = "".join(text.split()).rstrip("=").replace("-", "+").replace("_", "/")
    if not compact:
        raise MediaError(f"The file for '{parameter}' is empty.", hint=HINT, parameter=parameter)
    try:
        content = base64.b64decode(compact + "=" * (-len(compact) % 4), validate=True)
    except (binascii.Error, ValueError):
        content = b""
    if not content:
        raise MediaError(f"'{parameter}' is neither valid base64 nor a URL.", hint=HINT, parameter=parameter)
    return content
