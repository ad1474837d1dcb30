"""Getting the bytes of media."""

import base64
from collections.abc import Callable

import httpx
import pytest

from octabox.errors import ForbiddenUrlError, MediaError
from octabox.media.fetching import REDIRECTS, Fetcher
from octabox.media.images import MediaLimits
from octabox.security.urls import UrlGuard

CONTENT = b"\xfb\xff\xfe some bytes?>"
TEXT = base64.b64encode(CONTENT).decode()
PRIVATE = {"private.example": "10.0.0.1", "127.0.0.1": "127.0.0.1", "169.254.169.254": "169.254.169.254"}


def fetcher(answer: Callable[[httpx.Request], httpx.Response] | None = None) -> Fetcher:
    """Return a fetcher whose network answers so; hosts are public but for the private ones."""

    async def resolver(host: str, port: int) -> list[str]:
        return [PRIVATE.get(host, "93.184.216.34")]

    def refuse(request: httpx.Request) -> httpx.Response:
        raise AssertionError(request.url)

    guard = UrlGuard(resolver, lambda: httpx.MockTransport(answer or refuse))
    return Fetcher(MediaLimits(max_bytes=1000), guard)


@pytest.mark.parametrize(
    "source",
    [
        CONTENT,
        TEXT,
        TEXT.rstrip("="),
        base64.urlsafe_b64encode(CONTENT).decode(),
        "\n".join(TEXT[place : place + 8] for place in range(0, len(TEXT), 8)),
        f"data:image/png;base64,{TEXT}",
        f"DATA:image/png;charset=x;BASE64,{TEXT}",
        "data:,%FB%FF%FE some bytes%3F%3E",
    ],
)
async def test_forms(source: str | bytes) -> None:
    """Bytes, base64 of every kind and data URIs all give the bytes."""
    assert CONTENT == await fetcher().fetch(source, parameter="image")


@pytest.mark.parametrize("source", ["", "!!!", "a", "data:image/png;base64,", "data:image/png;base64,%%"])
async def test_no_base64(source: str) -> None:
    """What is none of that is refused."""
    with pytest.raises(MediaError, match="'image' is no base64"):
        await fetcher().fetch(source, parameter="image")


@pytest.mark.parametrize("source", ["file:///etc/passwd", "FILE:///etc/passwd", "ftp://example.org/a", "gopher:x"])
async def test_other_schemes(source: str) -> None:
    """Only http and https are fetched."""
    with pytest.raises(ForbiddenUrlError) as caught:
        await fetcher().fetch(source, parameter="image")

    assert "image" == caught.value.parameter


async def test_url() -> None:
    """A URL is fetched, spaces around it or not."""
    found = await fetcher(lambda _: httpx.Response(200, content=CONTENT)).fetch(
        " https://example.org/a.png ", parameter="image"
    )

    assert CONTENT == found


async def test_redirect() -> None:
    """A redirect, relative or not, is followed."""

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/a":
            return httpx.Response(302, headers={"location": "b"})
        return httpx.Response(200, content=CONTENT)

    assert CONTENT == await fetcher(answer).fetch("https://example.org/a", parameter="image")


@pytest.mark.parametrize(
    "location",
    [
        "http://127.0.0.1/",
        "http://169.254.169.254/latest/meta-data",
        "//private.example/",
        "file:///etc/passwd",
        "http://user:word@example.org/",
    ],
)
async def test_redirect_to_a_forbidden_place(location: str) -> None:
    """Every address on the way is checked."""
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.headers["host"])
        return httpx.Response(302, headers={"location": location})

    with pytest.raises(ForbiddenUrlError) as caught:
        await fetcher(answer).fetch("https://example.org/a", parameter="image")

    assert ["example.org"] == asked
    assert "image" == caught.value.parameter


async def test_private_address() -> None:
    """A private address is not asked at all, and the error names the parameter."""
    with pytest.raises(ForbiddenUrlError) as caught:
        await fetcher().fetch("http://private.example/a", parameter="mask_image")

    assert "mask_image" == caught.value.parameter


async def test_redirects_without_end() -> None:
    """Redirects come to an end."""
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.path)
        return httpx.Response(302, headers={"location": "/again"})

    with pytest.raises(MediaError, match="redirects"):
        await fetcher(answer).fetch("https://example.org/a", parameter="image")

    assert REDIRECTS + 1 == len(asked)


@pytest.mark.parametrize(
    ("response", "why"),
    [
        (httpx.Response(404), "answered 404"),
        (httpx.Response(302), "answered 302"),
        (httpx.Response(200, content=b"x" * 1001), "larger than 1000 bytes"),
    ],
)
async def test_bad_answers(response: httpx.Response, why: str) -> None:
    """An answer that is no medium, or too large, is refused."""
    with pytest.raises(MediaError, match=why):
        await fetcher(lambda _: response).fetch("https://example.org/a", parameter="image")


async def test_no_answer() -> None:
    """A host that does not answer is said to be so."""

    def answer(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectTimeout("")

    with pytest.raises(MediaError, match="no answer: ConnectTimeout"):
        await fetcher(answer).fetch("https://example.org/a", parameter="image")
