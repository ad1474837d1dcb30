"""Download a file by its URL, with its checksum; only from public addresses."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

import httpx

from octabox.errors import DownloadError, ForbiddenUrlError, InvalidParameterError
from octabox.hub.cache_layout import RemoteFile
from octabox.hub.hub_errors import hub_error
from octabox.hub.hub_messages import Target
from octabox.hub.pulls.transfer import Transfer
from octabox.hub.selection import weight_names
from octabox.security.urls import UrlGuard

#: Seconds without data after which a connection is regarded as interrupted.
TIMEOUT = 30.0

_SHA256 = re.compile(r"[0-9a-f]{64}")


def file_guard() -> UrlGuard:
    """Return what connects to public addresses only, with a new connection for each request."""
    limits = httpx.Limits(max_keepalive_connections=0)
    return UrlGuard(make_transport=lambda: httpx.AsyncHTTPTransport(limits=limits))


async def pull_url(
    url: str,
    sha256: str | None,
    folder: Path,
    report: Callable[[int, int], None] = lambda _done, _total: None,
    guard: UrlGuard | None = None,
) -> Path:
    """Download a file, and return its path; an interrupted download is continued.

    Args:
        url: An https URL.
        sha256: The SHA-256 of the file.
        folder: Folder of such files, each in a folder that has its checksum as name.
        report: Called with the received and the total bytes.
        guard: Checks the addresses.

    Raises:
        ForbiddenUrlError: The URL is not of https, or of an address that is not public.
        InvalidParameterError: The checksum is missing or invalid, or the URL does not name a weight file.
        DownloadError: The file cannot be downloaded, or has another checksum.
    """
    guard = guard or file_guard()
    name = PurePosixPath(unquote(urlsplit(url).path)).name
    digest = (sha256 or "").lower()
    if not _SHA256.fullmatch(digest):
        hint = "Its page states it; for a file that you trust: `sha256sum FILE` on another machine."
        raise InvalidParameterError("A URL needs the SHA-256 of the file.", hint=hint, parameter="sha256")
    if not weight_names([name]):
        message = f"{url} does not name a weight file."
        raise InvalidParameterError(message, hint="Such as https://host/model.safetensors.", parameter="url")

    def headers(address: str) -> Mapping[str, str]:
        guard.check_form(address, "url")
        if urlsplit(address).scheme != "https":
            raise ForbiddenUrlError(f"{address} is not an https URL.", hint="Use https.", parameter="url")
        return {}

    place = folder / digest / name
    if place.exists():
        return place
    place.parent.mkdir(parents=True, exist_ok=True)
    async with httpx.AsyncClient(transport=guard.transport(), timeout=TIMEOUT, trust_env=False) as client:
        transfer = Transfer(client, headers)
        size = await _size_of(transfer, url)
        partial = place.with_name(f".{name}.partial")
        file, target = RemoteFile(name, size, digest), Target(urlsplit(url).hostname or url, file=name)
        await transfer.download(url, file, partial, target, lambda done: report(done, size))
    partial.replace(place)
    return place


async def _size_of(transfer: Transfer, url: str) -> int:
    """Return the size of the file at a URL.

    Raises:
        DownloadError: The server does not state it, or does not have the file.
    """
    try:
        response = await transfer.open(url)
        await response.aclose()
    except httpx.HTTPError as error:
        raise hub_error(error, urlsplit(url).hostname or url) from error
    size = response.headers.get("content-length", "")
    if response.status_code != 200 or not size.isdecimal():  # noqa: PLR2004 (of HTTP)
        reason = (
            f"the server responded with status {response.status_code}" if response.is_error else "its size is unknown"
        )
        raise DownloadError(f"{url} cannot be downloaded: {reason}.", hint="Check the URL.")
    return int(size)
