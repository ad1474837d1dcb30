"""Protection against server-side request forgery: only URLs of public addresses, and of the operator's hosts, are fetched.

A host is resolved once, all its addresses are checked, and the connection uses a checked address: a second, different answer
of the DNS has no effect. Ports are not restricted. Proxies of the environment are not used, since they would resolve the name
again.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Awaitable, Callable, Collection
from urllib.parse import urlsplit

import httpx

from octabox.errors import ForbiddenUrlError
from octabox.security.hosts import hostname, split_host
from octabox.security.resolver import SystemResolver

#: Resolves a host to addresses.
Resolver = Callable[[str, int], Awaitable[list[str]]]

#: Creates the transport that connects.
MakeTransport = Callable[[], httpx.AsyncBaseTransport]

#: Network of addresses with an embedded IPv4 address in their last bits (NAT64, RFC 6052).
NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


def is_public(address: str) -> bool:
    """Return whether an address is public; an embedded IPv4 address decides for an IPv6 address."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour
        if ip in NAT64:
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(str(inner))
        if ip.teredo or ip.is_site_local:
            return False
    return ip.is_global and not ip.is_multicast and not ip.is_reserved and not ip.is_unspecified


class UrlGuard:
    """Check which URLs may be fetched.

    Args:
        resolver: Resolves a host to addresses; by default the system's resolver.
        make_transport: Creates the transport that connects to a checked address.
        hosts: Hosts whose addresses need not be public: names or addresses, each with a port or for all ports.
    """

    def __init__(
        self,
        resolver: Resolver | None = None,
        make_transport: MakeTransport = httpx.AsyncHTTPTransport,
        hosts: Collection[str] = (),
    ) -> None:
        self._resolver, self._make_transport = resolver or SystemResolver(), make_transport
        self._hosts = frozenset(split_host(host) for host in hosts)

    def check_form(self, url: str, parameter: str | None = None) -> None:
        """Refuse a URL that is not http(s), has no host, or includes a password.

        Raises:
            ForbiddenUrlError: The URL is refused.
        """
        try:
            parts = urlsplit(url)
            allowed = (
                parts.scheme in ("http", "https") and parts.hostname and parts.username is None and parts.port != 0
            )
        except ValueError:
            allowed = False
        if not allowed:
            raise ForbiddenUrlError(
                "Only http and https URLs with a host and without a password are fetched.", parameter=parameter
            )

    def transport(self) -> httpx.AsyncBaseTransport:
        """Return a transport that connects to public addresses, and to the hosts of this guard, only."""
        return _GuardedTransport(self, self._make_transport())

    async def addresses_of(self, host: str, port: int) -> list[str]:
        """Return the addresses of a host, all of which are public, unless it is one of the hosts of this guard.

        Raises:
            ForbiddenUrlError: One of them is not public, or there is none.
        """
        try:
            addresses = await self._resolver(host, port)
        except (OSError, UnicodeError) as error:
            raise ForbiddenUrlError(f"The host '{host}' has no address: {error}.") from error
        name = hostname(host)
        is_named = not self._hosts.isdisjoint({(name, port), (name, None)})
        if not addresses or not (is_named or all(is_public(address) for address in addresses)):
            hint = (
                "Private, loopback and link-local addresses are not fetched; send the file itself, or let the operator add "
                f"{name} to the setting `url_hosts`."
            )
            raise ForbiddenUrlError(f"The host '{host}' is not on the public internet.", hint=hint)
        return addresses


class _GuardedTransport(httpx.AsyncBaseTransport):
    """Connect to a checked address; the name is used only in the ``Host`` header and the TLS handshake."""

    def __init__(self, guard: UrlGuard, inner: httpx.AsyncBaseTransport) -> None:
        self._guard, self._inner = guard, inner

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        url = request.url
        host = url.raw_host.decode("ascii").strip("[]")
        addresses = await self._guard.addresses_of(host, url.port or (443 if url.scheme == "https" else 80))
        request.extensions = {**request.extensions, "sni_hostname": host}
        for address in addresses[:-1]:
            request.url = url.copy_with(host=address)
            try:
                return await self._inner.handle_async_request(request)
            except httpx.ConnectError:
                continue
        request.url = url.copy_with(host=addresses[-1])
        return await self._inner.handle_async_request(request)

    async def aclose(self) -> None:
        await self._inner.aclose()
