"""Accepted hosts and origins of a request."""

from __future__ import annotations

import pytest

from octabox.errors import ForbiddenHostError, ForbiddenOriginError
from octabox.security.hosts import HostPolicy, hostname, is_loopback, parse_origin, split_host

LOCAL = HostPolicy("127.0.0.1")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Files.Example.org", ("files.example.org", None)),
        ("10.0.0.7:8443", ("10.0.0.7", 8443)),
        ("[fd00::7]:443", ("fd00::7", 443)),
        ("[fd00::7]", ("fd00::7", None)),
    ],
)
def test_a_host_is_split(text: str, expected: tuple[str, int | None]) -> None:
    """Into its name in lower case, and its port."""
    assert expected == split_host(text)


@pytest.mark.parametrize(
    "text",
    ["", "*", "*.example.org", "https://a.example", "a.example/x", "u@a.example", "a:99999", "a b", "10.0.0.0/8"],
)
def test_what_is_not_a_host(text: str) -> None:
    """Patterns, networks and URLs are refused, so that nothing is allowed that was not meant."""
    with pytest.raises(ValueError, match="must be hosts"):
        split_host(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://chat.example.org", "https://chat.example.org"),
        ("HTTPS://Chat.Example.org/", "https://chat.example.org"),
        ("https://chat.example.org:443", "https://chat.example.org"),
        ("http://chat.example.org:443", "http://chat.example.org:443"),
        ("http://[FD00::7]:8080/", "http://[fd00::7]:8080"),
        ("chrome-extension://abcdef", "chrome-extension://abcdef"),
        ("*", "*"),
        ("null", "null"),
    ],
)
def test_an_origin_is_written_as_browsers_write_it(text: str, expected: str) -> None:
    """In lower case, without a slash and without the default port."""
    assert expected == parse_origin(text)


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "chat.example.org",
            "localhost:8080",
            "https://",
            "https://*.example.org",
            "https://a.example/x",
            "//a.example",
        ),
        *(
            "https://a.example?x",
            "https://a.example#x",
            "https://u@a.example",
            "https://a:99999",
            "https://a b",
            "https://é.org",
        ),
    ],
)
def test_what_is_not_an_origin(text: str) -> None:
    """A host, a page and a pattern are refused, since no browser sends them as an origin."""
    with pytest.raises(ValueError, match="must be origins"):
        parse_origin(text)


@pytest.mark.parametrize(
    "host", ["127.0.0.1:8080", "localhost:8080", "LOCALHOST", "[::1]:8080", "box.localhost", "127.8.9.1", "localhost."]
)
def test_a_loopback_server_answers_loopback_names(host: str) -> None:
    """Every loopback name is accepted."""
    LOCAL.check(host, None)


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8080", "127.0.0.1.evil.example", "localhost.evil.example", "192.168.1.5", ""]
)
def test_a_loopback_server_refuses_other_names(host: str) -> None:
    """A name that DNS may resolve to this address is refused, and the hint names the setting that allows it."""
    with pytest.raises(ForbiddenHostError, match="allowed_hosts"):
        LOCAL.check(host, None)


def test_allowed_hosts_are_accepted() -> None:
    """A name of the setting is accepted, on a loopback address too, and `*.` is any subdomain."""
    policy = HostPolicy("127.0.0.1", ["images.example.org", "*.internal"])

    policy.check("images.example.org:443", None)
    policy.check("gpu.internal", None)
    with pytest.raises(ForbiddenHostError):
        policy.check("internal", None)
    HostPolicy("127.0.0.1", ["*"]).check("evil.example", None)


def test_a_public_server_answers_any_host_until_some_are_named() -> None:
    """Behind 0.0.0.0 the operator's names are unknown; with `allowed_hosts` only those are accepted."""
    HostPolicy("0.0.0.0").check("gpu.example.org", None)
    named = HostPolicy("0.0.0.0", ["gpu.example.org"])

    named.check("gpu.example.org", None)
    named.check("127.0.0.1:8080", None)
    with pytest.raises(ForbiddenHostError):
        named.check("evil.example", None)


@pytest.mark.parametrize("host", ["10.1.2.3:8080", "[fd00::7]:8080", "192.168.1.5"])
@pytest.mark.parametrize("policy", [LOCAL, HostPolicy("0.0.0.0", ["gpu.example.org"])])
def test_a_probe_may_name_any_address(policy: HostPolicy, host: str) -> None:
    """No DNS can bind an address to this server, so that a probe needs no name; other requests do."""
    policy.check(host, None, is_probe=True)

    with pytest.raises(ForbiddenHostError):
        policy.check(host, None)
    with pytest.raises(ForbiddenHostError):
        policy.check(f"{hostname(host)}.evil.example", None, is_probe=True)
    with pytest.raises(ForbiddenOriginError):
        policy.check(host, "http://evil.example", is_probe=True)


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("localhost", "http://localhost"),
        ("localhost:80", "http://localhost"),
        ("[::1]:8080", "http://[::1]:8080"),
    ],
)
def test_pages_of_the_server_itself_may_call_it(host: str, origin: str) -> None:
    """An origin that equals the request's host and port is accepted."""
    LOCAL.check(host, origin)


@pytest.mark.parametrize(
    "origin",
    ["http://evil.example", "http://127.0.0.1:3000", "https://127.0.0.1:8080.evil.example", "null", "", "http://[bad"],
)
def test_pages_of_other_sites_may_not(origin: str) -> None:
    """Another host, another port, an opaque origin or an invalid one is refused."""
    with pytest.raises(ForbiddenOriginError, match="cors_origins"):
        LOCAL.check("127.0.0.1:8080", origin)


def test_allowed_origins_may() -> None:
    """An origin of the setting is accepted, in any letter case and with a trailing slash."""
    HostPolicy("127.0.0.1", origins=["https://Chat.example.org/"]).check("localhost", "https://chat.example.org")
    HostPolicy("127.0.0.1", origins=["*"]).check("localhost", "null")


def test_pages_of_a_proxy_that_is_named_may() -> None:
    """Behind a proxy with its own `Host`, the page's origin has the public name, which is in `allowed_hosts`."""
    HostPolicy("127.0.0.1", ["images.example.org"]).check("127.0.0.1:8080", "https://images.example.org")


@pytest.mark.parametrize(
    ("netloc", "name"), [("A.b:1", "a.b"), ("[::1]:80", "::1"), ("::1", "::1"), ("u@h:2", "h"), ("h.", "h"), ("", "")]
)
def test_the_name_of_an_address(netloc: str, name: str) -> None:
    """The port, the letter case and the brackets are not part of a name."""
    assert name == hostname(netloc)


@pytest.mark.parametrize("name", ["127.0.0.1", "127.255.0.3", "::1", "localhost", "a.localhost"])
def test_loopback_names(name: str) -> None:
    """These are loopback names."""
    assert is_loopback(name)
    assert not is_loopback(name + ".example")
