"""Download one file: continue where an earlier attempt stopped, and check its content.

huggingface_hub begins again after each interruption, so downloads are our own; the place of the result is its.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import httpx

from octabox.hub.cache_layout import RemoteFile
from octabox.hub.responses.errors import Refusal, hub_error, refusal_error, wait_seconds
from octabox.hub.responses.messages import Target, checksum_error

#: Bytes that are read and written together.
CHUNK = 256 * 1024

#: Attempts in a row without any progress after which a download fails.
ATTEMPTS = 5

#: Seconds before the second attempt; it doubles for each further one, up to the maximum.
FIRST_DELAY, MAX_DELAY = 0.2, 10.0

#: Maximum number of redirects.
MAX_REDIRECTS = 5

#: Maximum seconds to wait for a Hub that limits requests.
MAX_WAIT = 60

#: Statuses after which a request is repeated.
_TEMPORARY = frozenset({408, 429, 500, 502, 503, 504})


class Transfer:
    """Downloads files.

    Args:
        client: The HTTP client, which does not follow redirects.
        headers: Returns the headers for a URL; only the Hub receives the token.
    """

    def __init__(self, client: httpx.AsyncClient, headers: Callable[[str], Mapping[str, str]] = lambda _: {}) -> None:
        self._client, self._headers = client, headers

    async def download(
        self, url: str, file: RemoteFile, partial: Path, target: Target, report: Callable[[int], None]
    ) -> None:
        """Download a file into a place that may have a part of it already, and check it.

        Args:
            url: Its URL.
            file: Its size and checksum.
            partial: The place.
            target: What it belongs to, for errors.
            report: Called with the number of bytes that the place has.

        Raises:
            OctaboxError: The server refuses it, the connection is interrupted too often, the disk is full, or its content
                is not that of its checksum.
        """
        resumed = _size(partial) > 0
        if await self._attempt(url, file, partial, target, report):
            return
        # The part of an earlier attempt may have been damaged by a crash of the system.
        if not (resumed and await self._attempt(url, file, partial, target, report)):
            raise checksum_error(target.repo, file.path)

    async def _attempt(
        self, url: str, file: RemoteFile, partial: Path, target: Target, report: Callable[[int], None]
    ) -> bool:
        """Download the rest of a file, and return whether its checksum is right; a wrong file is deleted."""
        failures, most = 0, 0
        problem: httpx.RequestError = httpx.RemoteProtocolError("the server sends less than the file")
        content = _Content(file, partial, report)
        try:
            await content.open()
            most = content.size
            while content.size < file.size:
                try:
                    await self._continue(url, content, target)
                except (httpx.TransportError, httpx.TooManyRedirects) as error:
                    problem = error
                failures = 0 if content.size > most else failures + 1
                most = max(most, content.size)
                if failures >= ATTEMPTS:
                    raise hub_error(problem, target.repo, target.revision, file.path) from problem
                if content.size < file.size:
                    await asyncio.sleep(min(FIRST_DELAY * 2**failures, MAX_DELAY))
        except OSError as error:
            raise hub_error(error, target.repo, target.revision, file.path) from error
        finally:
            content.close()
        if content.is_valid():
            return True
        content.delete()
        return False

    async def _continue(self, url: str, content: _Content, target: Target) -> None:
        """Request the rest of a file, and append what is received."""
        response = await self.open(url, content.size)
        try:
            if response.status_code == 416:  # noqa: PLR2004 (there is no such range: the part is not of this file)
                content.restart()
                return
            if response.status_code not in {200, 206}:
                await _raise_or_wait(response, target)
                return
            if response.status_code == 200 and content.size:  # noqa: PLR2004 (the server ignores ranges)
                content.restart()
            async for chunk in response.aiter_raw(CHUNK):
                content.append(chunk)
                if content.size > content.limit:
                    return
        finally:
            await response.aclose()

    async def open(self, url: str, start: int = 0, end: int | None = None) -> httpx.Response:
        """Request a file from a position on, to its end or to another position, with the headers for each host on the way."""
        for _ in range(MAX_REDIRECTS + 1):
            request = self._request(url, start, end)
            response = await self._client.send(request, stream=True)
            if not response.has_redirect_location:
                return response
            await response.aclose()
            try:
                url = urljoin(url, response.headers["location"])
            except ValueError as error:
                raise _not_a_url() from error
        raise httpx.TooManyRedirects(f"more than {MAX_REDIRECTS} redirects", request=response.request)

    def _request(self, url: str, start: int, end: int | None) -> httpx.Request:
        """Return the request for a file from a position on, with the headers for its host."""
        try:
            headers = {**self._headers(url), "accept-encoding": "identity"}
            if start or end is not None:
                headers["range"] = f"bytes={start}-{'' if end is None else end}"
            return self._client.build_request("GET", url, headers=headers)
        except (ValueError, httpx.InvalidURL) as error:
            raise _not_a_url() from error


def _not_a_url() -> httpx.RemoteProtocolError:
    """Return the error for a redirect to a text that no request can have as its URL, such as one with an impossible port."""
    return httpx.RemoteProtocolError("the server redirects to what is not a URL")


class _Content:
    """The part of a file that has been received, and its checksum so far."""

    def __init__(self, file: RemoteFile, place: Path, report: Callable[[int], None]) -> None:
        self._file, self._place, self._report = file, place, report
        self._hasher: Any = file.hasher()
        self._stream: Any = None
        self.size, self.limit = 0, file.size

    async def open(self) -> None:
        """Open the place, and read what it has."""
        # Without a buffer, so that each piece survives the end of this process.
        self._stream = self._place.open("ab+", buffering=0)
        if _size(self._place) > self._file.size:
            self._stream.truncate(0)
        self._stream.seek(0)
        while chunk := self._stream.read(16 * CHUNK):
            self._hasher.update(chunk)
            self.size += len(chunk)
            await asyncio.sleep(0)
        self._report(self.size)

    def append(self, chunk: bytes) -> None:
        """Write a piece."""
        self._stream.write(chunk)
        self._hasher.update(chunk)
        self.size += len(chunk)
        self._report(self.size)

    def restart(self) -> None:
        """Delete what was received."""
        self._stream.truncate(0)
        self._hasher, self.size = self._file.hasher(), 0
        self._report(0)

    def close(self) -> None:
        """Close the place."""
        if self._stream is not None:
            self._stream.close()

    def delete(self) -> None:
        """Delete what was received, and the place."""
        self._place.unlink(missing_ok=True)
        self._report(0)

    def is_valid(self) -> bool:
        """Return whether the content has the size and the checksum of the file."""
        return self.size == self._file.size and self._hasher.hexdigest() == self._file.digest


async def _raise_or_wait(response: httpx.Response, target: Target) -> None:
    """Raise the error of a response, or wait as long as it requests.

    Raises:
        OctaboxError: Waiting does not help, or takes too long.
        httpx.TransportError: The server had a temporary problem.
    """
    headers = {name.lower(): value for name, value in response.headers.items()}
    authenticated = "authorization" in response.request.headers
    error = refusal_error(Refusal(response.status_code, headers, authenticated), target)
    if response.status_code not in _TEMPORARY:
        raise error
    wait = wait_seconds(headers)
    if wait > MAX_WAIT:
        raise error
    await asyncio.sleep(wait)
    raise _TemporaryError(error)


class _TemporaryError(httpx.TransportError):
    """A response after which the request is repeated; its cause is the error if that does not help."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.__cause__ = error


def same_origin(url: str, other: str) -> bool:
    """Return whether two URLs have the same scheme, host and port."""
    ports = {"http": 80, "https": 443}
    first, second = urlsplit(url), urlsplit(other)
    return (first.scheme, first.hostname, first.port or ports.get(first.scheme)) == (
        second.scheme,
        second.hostname,
        second.port or ports.get(second.scheme),
    )


def _size(place: Path) -> int:
    """Return the size of a file; 0 if it does not exist."""
    try:
        return place.stat().st_size
    except OSError:
        return 0
