"""Headers of reverse proxies: those of trusted ones are followed, those of strangers are not."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from fakes import Server

PUBLIC = {
    "x-forwarded-proto": "https",
    "x-forwarded-host": "img.example.org",
    "x-forwarded-prefix": "/octabox",
    "x-forwarded-for": "203.0.113.9",
}


def client(server: Server, address: str) -> httpx.AsyncClient:
    """Return a client that calls from an address."""
    transport = httpx.ASGITransport(server.app, client=(address, 1234))
    return httpx.AsyncClient(transport=transport, base_url="http://upstream")


async def link(server: Server, address: str, headers: dict[str, str]) -> str:
    """Return the link of an image, up to the results."""
    async with client(server, address) as http:
        answer = await http.post("/v1/images/generations", json={"prompt": "x"}, headers=headers)
    url: str = answer.json()["data"][0]["url"]
    return url.partition("/results/")[0]


def public_server(**settings: Any) -> Server:
    """Return a server for any host, with proxies in one network."""
    return Server(host="0.0.0.0", **{"trusted_proxies": "10.0.0.0/8", **settings})


@pytest.mark.parametrize(
    ("address", "headers", "expected"),
    [
        ("10.1.2.3", PUBLIC, "https://img.example.org/octabox"),
        ("::ffff:10.1.2.3", PUBLIC, "https://img.example.org/octabox"),
        ("10.1.2.3", {"x-forwarded-proto": "https"}, "https://upstream"),
        ("10.1.2.3", {"x-forwarded-host": "img.example.org:8443"}, "http://img.example.org:8443"),
        ("10.1.2.3", {"x-forwarded-host": "evil.example, img.example.org"}, "http://img.example.org"),
        ("10.1.2.3", {**PUBLIC, "x-forwarded-for": "203.0.113.9, 10.0.0.1", "x-forwarded-host": "evil, a, b"}, "https://a/octabox"),
        ("192.168.1.1", PUBLIC, "http://upstream"),
        ("10.1.2.3", {"x-forwarded-host": "evil.example/path"}, "http://upstream"),
        ("10.1.2.3", {"x-forwarded-host": "a@evil.example"}, "http://upstream"),
        ("10.1.2.3", {"x-forwarded-proto": "javascript"}, "http://upstream"),
        ("10.1.2.3", {"x-forwarded-prefix": "//evil.example"}, "http://upstream"),
        ("10.1.2.3", {"x-forwarded-prefix": "octabox"}, "http://upstream"),
    ],
)  # fmt: skip
async def test_links_follow_trusted_proxies(address: str, headers: dict[str, str], expected: str) -> None:
    """What a trusted proxy forwards is in links; what a stranger sends, or what is not a name, is not."""
    assert expected == await link(public_server(), address, headers)


async def test_no_proxy_is_trusted_where_the_setting_is_empty() -> None:
    """An empty list trusts nobody, not even this machine; a star trusts everybody."""
    assert "http://upstream" == await link(public_server(trusted_proxies=[]), "127.0.0.1", PUBLIC)
    assert "https://img.example.org/octabox" == await link(public_server(trusted_proxies="*"), "8.8.8.8", PUBLIC)


async def test_the_host_of_a_proxy_is_checked_too() -> None:
    """Neither a forwarded host nor the real one may be a foreign name; a page cannot replace one by the other."""
    server = Server(allowed_hosts="img.example.org,upstream")
    local = {"x-forwarded-host": "localhost"}
    async with client(server, "127.0.0.1") as http:
        foreign = await http.get("/v1/models", headers={"x-forwarded-host": "evil.example"})
        rebound = await http.get("/v1/models", headers={**local, "host": "evil.example"})
        served = await http.get("/v1/models", headers={**PUBLIC, "origin": "https://img.example.org"})

    assert [403, 403, 200] == [foreign.status_code, rebound.status_code, served.status_code]


async def test_redirects_are_relative() -> None:
    """A redirect is valid whatever the server is called, below a prefix too."""
    async with client(public_server(), "10.1.2.3") as http:
        plain = await http.get("/v1/models/?a=b")
        prefixed = await http.get("/healthz/", headers=PUBLIC)

    assert (307, "/healthz") == (prefixed.status_code, prefixed.headers["location"].removeprefix("/octabox"))
    assert prefixed.headers["location"].startswith("/octabox/")
    assert plain.status_code != 307 or plain.headers["location"].startswith("/")
