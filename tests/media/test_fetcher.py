"""The bytes of a medium, however it was given."""

import asyncio
import base64
import gzip
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest

from octabox.errors import ForbiddenUrlError, MediaError
from octabox.media.fetcher import Fetcher
from octabox.media.limits import MediaLimits
from octabox.security.urls import UrlGuard

DATA = bytes(range(250)) + b"??>>"
LIMITS = MediaLimits(max_bytes=1000)


async def addresses(host: str, port: int) -> list[str]:
    """Return a public address, but for hosts that are called after their own."""
    return ["10.0.0.7"] if host.startswith("private") else ["93.184.216.34"]


async def fetch(source: Any, answer: Callable[[httpx.Request], Any] | None = None, timeout: float = 5) -> bytes:
    """Fetch a source; hosts answer as they are told."""
    guard = UrlGuard(addresses, lambda: httpx.MockTransport(answer or (lambda request: httpx.Response(500))))
    return await Fetcher(LIMITS, guard, timeout).fetch(source, parameter="image")


def text(content: bytes = DATA) -> str:
    """Return base64."""
    return base64.b64encode(content).decode()


@pytest.mark.parametrize(
    "source",
    [
        DATA,
        text(),
        text().rstrip("="),
        base64.urlsafe_b64encode(DATA).decode(),
        base64.encodebytes(DATA).decode(),
        f"  {text()}\r\n",
        f"data:image/png;base64,{text()}",
        f"DATA:image/png;charset=utf-8;Base64,{text()}",
        f"data:;base64,{text().replace('+', '%2B')}",
        "data:image/png," + "".join(f"%{byte:02x}" for byte in DATA),
    ],
)
async def test_bytes_and_text(source: bytes | str) -> None:
    """Raw bytes, base64 of every kind and data URIs all give the same file."""
    assert DATA == await fetch(source)


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("", "is empty"),
        ("data:image/png;base64,", "is empty"),
        ("not base64!", "is neither valid base64"),
        ("a", "is neither valid base64"),
        ("äöü=", "is neither valid base64"),
        ("data:image/png;base64", "without a comma"),
    ],
)
async def test_text_that_is_nothing(source: str, says: str) -> None:
    """Text that is neither says so and names the parameter."""
    with pytest.raises(MediaError, match=f"'image'.*{says}") as caught:
        await fetch(source)

    assert "image" == caught.value.parameter


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "ftp://a.example/x", "gopher://x", "FILE:/etc/passwd", "s3://a/b"]
)
async def test_other_schemes(url: str) -> None:
    """Only the web is fetched."""
    with pytest.raises(ForbiddenUrlError, match="'image' has a URL with") as caught:
        await fetch(url)

    assert "image" == caught.value.parameter


async def test_a_url() -> None:
    """A file is fetched from the address that was checked, under the host's name."""
    seen = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append((request.url.host, request.headers["host"], request.extensions["sni_hostname"]))
        return httpx.Response(200, content=DATA)

    assert DATA == await fetch("https://a.example:8443/x.png?y=1", answer)
    assert [("93.184.216.34", "a.example:8443", "a.example")] == seen


async def test_redirects_are_followed() -> None:
    """Relative and absolute redirects lead to the file."""
    path = {"/1": "/2", "/2": "http://b.example/3"}

    def answer(request: httpx.Request) -> httpx.Response:
        to = path.get(request.url.path)
        return httpx.Response(302, headers={"location": to}) if to else httpx.Response(200, content=DATA)

    assert DATA == await fetch("https://a.example/1", answer)


@pytest.mark.parametrize(
    "to",
    ["http://private.example/x", "file:///etc/passwd", "http://u:p@b.example/", "http://127.0.0.1/", "//private/x"],
)
async def test_a_redirect_to_where_it_must_not(to: str) -> None:
    """Every redirect is checked like the first address."""

    async def resolved(host: str, port: int) -> list[str]:
        return [host] if host[0].isdigit() else await addresses(host, port)

    guard = UrlGuard(
        resolved, lambda: httpx.MockTransport(lambda request: httpx.Response(307, headers={"location": to}))
    )
    with pytest.raises(ForbiddenUrlError) as caught:
        await Fetcher(LIMITS, guard).fetch("http://a.example/x", parameter="image")

    assert "image" == caught.value.parameter


async def test_redirects_end() -> None:
    """A circle of redirects is left."""
    with pytest.raises(MediaError, match="more than 5 redirects"):
        await fetch("http://a.example/", lambda request: httpx.Response(302, headers={"location": "/"}))


async def test_a_private_host() -> None:
    """A host with a private address is not even connected to."""

    def answer(request: httpx.Request) -> httpx.Response:
        raise AssertionError

    with pytest.raises(ForbiddenUrlError, match=r"private\.example") as caught:
        await fetch("http://private.example/x", answer)

    assert "image" == caught.value.parameter


async def test_a_file_that_is_too_large() -> None:
    """Reading ends as soon as there is more than is allowed."""
    sent = []

    async def endless() -> AsyncIterator[bytes]:
        while True:
            sent.append(1)
            yield b"x" * 400

    with pytest.raises(MediaError, match="larger than 1000 bytes"):
        await fetch("http://a.example/x", lambda request: httpx.Response(200, content=endless()))

    assert 3 == len(sent)


async def test_a_slow_host() -> None:
    """A host that answers in drops is given up."""

    async def answer(request: httpx.Request) -> httpx.Response:
        await asyncio.Event().wait()
        raise AssertionError

    with pytest.raises(MediaError, match=r"more than 0\.01 seconds"):
        await fetch("http://a.example/x", answer, timeout=0.01)


@pytest.mark.parametrize("status", [304, 404, 500])
async def test_a_host_without_the_file(status: int) -> None:
    """What a host answers is said."""
    with pytest.raises(MediaError, match=f"returned status {status}"):
        await fetch("http://a.example/x", lambda request: httpx.Response(status))


async def test_an_answer_that_would_grow() -> None:
    """A compressed answer, which nobody asked for, is not unpacked."""
    packed = gzip.compress(b"x" * 100_000)

    with pytest.raises(MediaError, match="compressed"):
        await fetch(
            "http://a.example/x",
            lambda request: httpx.Response(200, headers={"content-encoding": "gzip"}, content=packed),
        )


async def test_a_host_that_is_not_there() -> None:
    """A failed connection is the caller's error, not ours."""

    def answer(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    with pytest.raises(MediaError, match="could not be fetched: refused"):
        await fetch("http://a.example/x", answer)
