"""URLs that may be fetched."""

import httpx
import pytest

from octabox.errors import ForbiddenUrlError
from octabox.security.resolver import SystemResolver
from octabox.security.urls import UrlGuard, is_public


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "93.184.216.34", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]
)
def test_public_addresses(address: str) -> None:
    """Public addresses are accepted."""
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.9.9.9", "0.0.0.0", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1",
        "192.0.2.1", "198.18.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255",
        "::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "fd12::1", "fec0::1", "ff02::1", "2001:db8::1",
        "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a00:1", "64:ff9b:1::808:808",
        "2002:7f00:1::", "2002:a00:1::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    ],
)  # fmt: skip
def test_addresses_that_are_not_public(address: str) -> None:
    """Private, loopback, link-local, shared, reserved and multicast addresses are refused, also embedded in others."""
    assert not is_public(address)


@pytest.mark.parametrize(
    "url",
    [
        "file:///x",
        "ftp://a/",
        "http://",
        "http:///x",
        "http://u@a/",
        "http://u:p@a/",
        "http://a:0/",
        "http://a:99999/",
        "http://[x/",
    ],
)
def test_urls_of_a_wrong_form(url: str) -> None:
    """Only plain http(s) URLs with a host are fetched."""
    with pytest.raises(ForbiddenUrlError) as caught:
        UrlGuard().check_form(url, "image")

    assert "image" == caught.value.parameter


async def test_one_private_address_is_enough() -> None:
    """A host with a private address is refused, whatever its other addresses are."""

    async def resolver(host: str, port: int) -> list[str]:
        return ["8.8.8.8", "127.0.0.1"]

    with pytest.raises(ForbiddenUrlError, match="not on the public internet"):
        await UrlGuard(resolver).addresses_of("a.example", 80)


@pytest.mark.parametrize(
    ("hosts", "host", "port", "allowed"),
    [
        (["localhost:8443"], "localhost", 8443, True),
        (["localhost:8443"], "LOCALHOST", 8443, True),
        (["localhost:8443"], "localhost", 443, False),
        (["localhost"], "localhost", 1, True),
        (["files.example.org"], "localhost", 443, False),
        (["[::1]:80"], "::1", 80, True),
        (["127.0.0.1"], "127.0.0.1", 80, True),
        (["localhost"], "127.0.0.1", 80, False),
        (["localhost"], "x.localhost", 80, False),
    ],
)
async def test_hosts_that_the_operator_names(hosts: list[str], host: str, port: int, allowed: bool) -> None:
    """Their addresses need not be public; a name allows neither its subdomains nor its address under another name."""

    async def resolver(host: str, port: int) -> list[str]:
        return ["127.0.0.1"]

    guard = UrlGuard(resolver, hosts=hosts)
    if allowed:
        assert ["127.0.0.1"] == await guard.addresses_of(host, port)
        return
    with pytest.raises(ForbiddenUrlError, match="not on the public internet") as caught:
        await guard.addresses_of(host, port)
    assert "`url_hosts`" in caught.value.hint


async def test_a_redirect_to_another_private_host_is_refused() -> None:
    """A host that is allowed cannot lead to one that is not."""

    async def resolver(host: str, port: int) -> list[str]:
        return ["10.0.0.7" if host == "files.example" else "169.254.169.254"]

    def redirect(request: httpx.Request) -> httpx.Response:
        return httpx.Response(302, headers={"location": "http://metadata.example/"})

    guard = UrlGuard(resolver, lambda: httpx.MockTransport(redirect), ["files.example"])
    async with httpx.AsyncClient(transport=guard.transport(), follow_redirects=True) as client:
        with pytest.raises(ForbiddenUrlError, match=r"metadata\.example"):
            await client.get("http://files.example/")


async def test_a_host_without_address() -> None:
    """A host that cannot be resolved is reported."""

    async def resolver(host: str, port: int) -> list[str]:
        raise OSError("unknown name")

    with pytest.raises(ForbiddenUrlError, match="unknown name"):
        await UrlGuard(resolver).addresses_of("a.example", 80)


async def test_the_name_is_resolved_once() -> None:
    """A DNS answer that changes after the check has no effect."""
    answers = iter([["8.8.8.8"], ["127.0.0.1"]])
    seen = []

    async def resolver(host: str, port: int) -> list[str]:
        return next(answers)

    def connect(request: httpx.Request) -> httpx.Response:
        seen.append(request.url.host)
        return httpx.Response(200)

    async with httpx.AsyncClient(
        transport=UrlGuard(resolver, lambda: httpx.MockTransport(connect)).transport()
    ) as client:
        await client.get("http://a.example/")

    assert ["8.8.8.8"] == seen


async def test_the_next_address_is_tried() -> None:
    """If an address does not respond, the next one is tried; IPv6 addresses are in brackets."""
    seen = []

    async def resolver(host: str, port: int) -> list[str]:
        return ["2606:4700::1111", "8.8.8.8"]

    def connect(request: httpx.Request) -> httpx.Response:
        seen.append(str(request.url))
        if len(seen) == 1:
            raise httpx.ConnectError("no route")
        return httpx.Response(200)

    async with httpx.AsyncClient(
        transport=UrlGuard(resolver, lambda: httpx.MockTransport(connect)).transport()
    ) as client:
        await client.get("http://a.example:81/x")

    assert ["http://[2606:4700::1111]:81/x", "http://8.8.8.8:81/x"] == seen


@pytest.mark.parametrize("host", ["127.0.0.1", "2130706433", "0x7f.1", "127.1", "localhost"])
async def test_all_spellings_of_this_machine(host: str) -> None:
    """The system's resolver accepts many notations of an address; the resolved address is checked."""
    with pytest.raises(ForbiddenUrlError):
        await UrlGuard(SystemResolver()).addresses_of(host, 80)
