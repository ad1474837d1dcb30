"""Which URLs may be fetched."""

import httpx
import pytest

from octabox.errors import ForbiddenUrlError
from octabox.security.urls import UrlGuard, is_public


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("93.184.216.34", True),
        ("2606:2800:220:1:248:1893:25c8:1946", True),
        ("127.0.0.1", False),
        ("10.1.2.3", False),
        ("172.16.0.1", False),
        ("192.168.1.1", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("0.0.0.0", False),
        ("224.0.0.1", False),
        ("255.255.255.255", False),
        ("::1", False),
        ("::", False),
        ("fe80::1%eth0", False),
        ("fc00::1", False),
        ("ff02::1", False),
        ("::ffff:127.0.0.1", False),
        ("::127.0.0.1", False),
        ("64:ff9b::a00:1", False),
        ("64:ff9b:1::7f00:1", False),
        ("2002:7f00:1::", False),
    ],
)
def test_is_public(address: str, public: bool) -> None:
    """Only addresses of the open internet are public, also those that wrap another."""
    assert public == is_public(address)


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "ftp://example.org/a",
        "http:///a",
        "https://user:password@example.org/",
        "http://example.org:0/",
        "http://example.org:99999/",
        "http://[::1",
        "//example.org/a",
    ],
)
def test_forms_that_are_refused(url: str) -> None:
    """Only plain http and https URLs are fetched."""
    with pytest.raises(ForbiddenUrlError) as caught:
        UrlGuard().check_form(url, "image")

    assert "image" == caught.value.parameter


@pytest.mark.parametrize("url", ["http://example.org", "https://example.org:8443/a?b#c", "HTTP://EXAMPLE.org/"])
def test_forms_that_are_fine(url: str) -> None:
    """Plain URLs pass."""
    UrlGuard().check_form(url)


def guard(*addresses: str) -> tuple[UrlGuard, list[httpx.Request]]:
    """Return a guard for whom every host has these addresses, and a list of what is asked of the network."""
    asked: list[httpx.Request] = []

    async def resolver(host: str, port: int) -> list[str]:
        return list(addresses)

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(200, content=b"hi")

    return UrlGuard(resolver, lambda: httpx.MockTransport(answer)), asked


async def test_the_checked_address_is_the_one_connected_to() -> None:
    """The connection goes to the address that was checked; the name stays in the header and in TLS."""
    one, asked = guard("93.184.216.34")
    async with httpx.AsyncClient(transport=one.transport()) as client:
        await client.get("https://example.org/a")

    assert "93.184.216.34" == asked[0].url.host
    assert ("example.org", "example.org") == (asked[0].headers["host"], asked[0].extensions["sni_hostname"])


@pytest.mark.parametrize("addresses", [("127.0.0.1",), ("93.184.216.34", "10.0.0.1"), ()])
async def test_hosts_that_are_refused(addresses: tuple[str, ...]) -> None:
    """A host one of whose addresses is not public is refused before anything is sent."""
    one, asked = guard(*addresses)
    async with httpx.AsyncClient(transport=one.transport()) as client:
        with pytest.raises(ForbiddenUrlError):
            await client.get("https://example.org/a")

    assert [] == asked


async def test_host_without_an_address() -> None:
    """A host that cannot be resolved is refused."""

    async def resolver(host: str, port: int) -> list[str]:
        raise OSError("unknown")

    with pytest.raises(ForbiddenUrlError, match="no address"):
        await UrlGuard(resolver).address_of("example.org", 80)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "0x7f.1"])
async def test_spellings_of_this_machine(host: str) -> None:
    """However this machine is written, the system's resolver shows what it is."""
    with pytest.raises(ForbiddenUrlError):
        await UrlGuard().address_of(host, 80)
