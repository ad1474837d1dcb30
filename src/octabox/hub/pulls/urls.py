"""Download a file by its URL, with its checksum; only from public addresses, and from hosts that the operator names."""

from __future__ import annotations

import contextlib
import re
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from urllib.parse import unquote, urlsplit

import httpx

from octabox.errors import DownloadError, ForbiddenUrlError, InvalidParameterError, OctaboxError
from octabox.hub.cache_layout import RemoteFile
from octabox.hub.folder import MAX_NAME_BYTES, is_short_name
from octabox.hub.pulls.locks import delete_unless_locked, file_lock
from octabox.hub.pulls.plan import RESERVE, free_bytes
from octabox.hub.pulls.transfer import Transfer
from octabox.hub.responses.errors import hub_error
from octabox.hub.responses.messages import Target, disk_full
from octabox.hub.selection import weight_names
from octabox.security.urls import UrlGuard

#: Seconds without data after which a connection is regarded as interrupted.
TIMEOUT = 30.0

_SHA256 = re.compile(r"[0-9a-f]{64}")

#: Hints for errors of the transfer, by their code; those for repositories name other commands.
_HINTS = {
    "connection_reset": "Repeat the download: it continues where it stopped.",
    "checksum_mismatch": "Check the SHA-256 and the URL, and repeat the download.",
    "hub_unreachable": "Check the URL and the network.",
    "rate_limited": "Try again later.",
}


@dataclass(frozen=True)
class UrlRequest:
    """A file to download by its URL.

    Args:
        url: An https URL.
        sha256: The SHA-256 of the file.
    """

    url: str
    sha256: str | None = None

    @property
    def name(self) -> str:
        """Name of the file."""
        # Windows splits a name at other characters as well.
        return PureWindowsPath(PurePosixPath(unquote(urlsplit(self.url).path)).name).name

    def place(self, folder: Path) -> Path:
        """Return the place of the file in the folder of such files: each is in a folder that has its checksum as name."""
        return folder / (self.sha256 or "").lower() / self.name

    @property
    def shown(self) -> str:
        """The URL for messages and responses: without its query, which may have a token."""
        return self.url.partition("?")[0].partition("#")[0]

    @property
    def repo(self) -> str:
        """What is downloaded, for messages."""
        return self.shown

    def check(self, guard: UrlGuard) -> None:
        """Check it without a connection.

        Raises:
            ForbiddenUrlError: The URL is not of https.
            InvalidParameterError: The checksum is missing or invalid, or the URL does not name a weight file.
        """
        guard.check_form(self.url, "url")
        _check_valid(self.url)
        if urlsplit(self.url).scheme != "https":
            raise ForbiddenUrlError(f"{self.shown} is not an https URL.", hint="Use https.", parameter="url")
        if not _SHA256.fullmatch((self.sha256 or "").lower()):
            hint = "Its page states it; for a file that you trust: `sha256sum FILE` on another machine."
            raise InvalidParameterError("A URL needs the SHA-256 of the file.", hint=hint, parameter="sha256")
        if not weight_names([self.name]):
            message = f"{self.shown} does not name a weight file."
            raise InvalidParameterError(message, hint="Such as https://host/model.safetensors.", parameter="url")
        if not is_short_name(self.name):
            message = f"The name of the file at the URL has more than {MAX_NAME_BYTES} bytes, or control characters."
            raise InvalidParameterError(message, hint="Download it yourself, under another name.", parameter="url")


@dataclass(frozen=True)
class UrlPlan:
    """What a download by a URL does.

    Args:
        request: What was requested.
        place: Where the file is stored.
        size: Its bytes, as the server states them.
        present: Bytes that need not be downloaded: of the complete file, or of a part of it.
        free: Free bytes on the disk of its folder.
    """

    request: UrlRequest
    place: Path
    size: int
    present: int
    free: int

    @property
    def to_fetch(self) -> int:
        """Bytes to download."""
        return max(0, self.size - self.present)

    def check_space(self) -> None:
        """Check that the file fits on the disk.

        Raises:
            DownloadError: It does not.
        """
        if self.to_fetch and self.to_fetch + RESERVE > self.free:
            raise disk_full(self.request.shown, self.to_fetch, self.free, str(self.place.parent.parent))


def file_guard(hosts: Collection[str] = ()) -> UrlGuard:
    """Return what connects to public addresses, and to these hosts, only, with a new connection for each request."""
    limits = httpx.Limits(max_keepalive_connections=0)
    return UrlGuard(make_transport=lambda: httpx.AsyncHTTPTransport(limits=limits), hosts=hosts)


async def plan_url(request: UrlRequest, folder: Path, guard: UrlGuard | None = None) -> UrlPlan:
    """Return the plan of a download, for whose size the server is asked; nothing is stored.

    Args:
        request: The URL and the checksum.
        folder: Folder of such files, each in a folder that has its checksum as name.
        guard: Checks the addresses.

    Raises:
        ForbiddenUrlError: The URL is not of https, or of an address that is not public.
        InvalidParameterError: The checksum is missing or invalid, or the URL does not name a weight file.
        DownloadError: The server does not have the file, does not state its size, or cannot be reached.
    """
    guard = guard or file_guard()
    request.check(guard)
    place = request.place(folder)
    try:
        free = free_bytes(folder)
        if place.exists():
            size = place.stat().st_size
            return UrlPlan(request, place, size, size, free)
        async with _transfer(request, guard) as transfer:
            size = await _size_of(transfer, request)
        return UrlPlan(request, place, size, min(_received(place), size), free)
    except OSError as error:
        raise _not_stored(request, folder, error) from error


async def pull_url(
    request: UrlRequest,
    folder: Path,
    report: Callable[[int, int], None] = lambda _done, _total: None,
    guard: UrlGuard | None = None,
    size: int | None = None,
) -> Path:
    """Download a file, and return its path; an interrupted download is continued.

    Args:
        request: The URL and the checksum.
        folder: Folder of such files, each in a folder that has its checksum as name.
        report: Called with the received and the total bytes.
        guard: Checks the addresses.
        size: Bytes of the file, from its plan; by default the server is asked.

    Raises:
        ForbiddenUrlError: The URL is not of https, or of an address that is not public.
        InvalidParameterError: The checksum is missing or invalid, or the URL does not name a weight file.
        DownloadError: The file cannot be downloaded, has another checksum, or does not fit on the disk.
    """
    guard = guard or file_guard()
    request.check(guard)
    try:
        return await _pull(request, folder, report, guard, size)
    except OSError as error:
        raise _not_stored(request, folder, error) from error


def _not_stored(request: UrlRequest, folder: Path, error: OSError) -> DownloadError:
    """Return the error of a file that the disk does not take."""
    message = f"{request.shown} cannot be stored in {folder}: {error.strerror or error}."
    return DownloadError(message, hint="Check the folder, or set OCTABOX_CACHE_DIR.")


async def _pull(
    request: UrlRequest, folder: Path, report: Callable[[int, int], None], guard: UrlGuard, size: int | None
) -> Path:
    """Download a file, as `pull_url` does; an error of the disk is as Python raises it."""
    place = request.place(folder)
    place.parent.mkdir(parents=True, exist_ok=True)
    partial, lock = _hidden(place)
    async with file_lock(lock):
        if place.exists():
            return place
        async with _transfer(request, guard) as transfer:
            total = await _size_of(transfer, request) if size is None else size
            UrlPlan(request, place, total, _received(place), free_bytes(folder)).check_space()
            file = RemoteFile(request.name, total, (request.sha256 or "").lower())
            target = Target(request.shown, file=request.name)
            await transfer.download(request.url, file, partial, target, lambda done: report(done, total))
        partial.replace(place)
    return place


@contextlib.asynccontextmanager
async def _transfer(request: UrlRequest, guard: UrlGuard) -> AsyncIterator[Transfer]:
    """Yield what downloads a file; within the context, errors are in the words of its URL."""

    def headers(address: str) -> Mapping[str, str]:
        # Redirects are checked as well.
        guard.check_form(address, "url")
        if urlsplit(address).scheme != "https":
            message = f"{request.shown} redirects to a URL that is not of https."
            raise ForbiddenUrlError(message, hint="Use https.", parameter="url")
        return {}

    async with httpx.AsyncClient(transport=guard.transport(), timeout=TIMEOUT, trust_env=False) as client:
        try:
            yield Transfer(client, headers)
        except DownloadError as error:
            raise _about_url(error, request) from error


def delete_url_file(file: Path) -> bool:
    """Delete a downloaded file, and the folder of its checksum if nothing else is there; return whether it was not in use."""
    partial, lock = _hidden(file)
    if not delete_unless_locked(lock, (file, partial)):
        return False
    with contextlib.suppress(OSError):  # A file of another name may be there, or be downloaded.
        file.parent.rmdir()
    return True


def _hidden(file: Path) -> tuple[Path, Path]:
    """Return the places of the received part of a file, and of its lock."""
    return file.with_name(f".{file.name}.partial"), file.with_name(f".{file.name}.lock")


def _received(place: Path) -> int:
    """Return the bytes of a file that an interrupted download has left."""
    partial, _ = _hidden(place)
    return partial.stat().st_size if partial.exists() else 0


def _check_valid(url: str) -> None:
    """Refuse a URL that no request can have, such as one with control characters.

    Raises:
        ForbiddenUrlError: It is refused.
    """
    try:
        httpx.URL(url)
    except (httpx.InvalidURL, ValueError) as error:
        message = f"The URL is not valid: {error}."
        raise ForbiddenUrlError(message, hint="Encode its characters as a browser does.", parameter="url") from error


async def _size_of(transfer: Transfer, request: UrlRequest) -> int:
    """Return the size of the file at a URL, by a request for its first byte; a server may ignore that it is only for this.

    Raises:
        DownloadError: The server does not state it, or does not have the file.
    """
    try:
        # Not a HEAD request, since URLs with a signature may be for one method only.
        response = await transfer.open(request.url, end=0)
        await response.aclose()
    except httpx.HTTPError as error:
        raise hub_error(error, request.shown) from error
    is_part = response.status_code == 206  # noqa: PLR2004 (of HTTP)
    size = response.headers.get("content-range", "").rpartition("/")[2] if is_part else ""
    size = size or response.headers.get("content-length", "")
    if response.status_code not in {200, 206} or not size.isdecimal():
        reason = (
            f"the server responded with status {response.status_code}" if response.is_error else "its size is unknown"
        )
        raise DownloadError(f"{request.shown} cannot be downloaded: {reason}.", hint="Check the URL.")
    return int(size)


def _about_url(error: OctaboxError, request: UrlRequest) -> OctaboxError:
    """Return an error of the transfer in the words of a URL, without those about the Hub."""
    if error.code in _HINTS:
        error.hint = _HINTS[error.code]
    if error.code == "hub_unreachable":
        error.code, error.message = "url_unreachable", f"{urlsplit(request.url).hostname} cannot be reached."
    return error
