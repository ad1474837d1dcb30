"""Keep clients from making the server fetch what only the server can reach (server-side request forgery)."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

import httpx

from octabox.errors import ForbiddenUrlError

#: Finds the addresses of a host, as text.
Resolver = Callable[[str, int], Awaitable[list[str]]]

#: Makes the transport that really connects.
MakeTransport = Callable[[], httpx.AsyncBaseTransport]

#: Networks whose addresses hold an IPv4 address in their last bits: NAT64 (RFC 6052, RFC 8215).
NAT64 = tuple(ipaddress.IPv6Network(network) for network in ("64:ff9b::/96", "64:ff9b:1::/48"))


async def resolve(host: str, port: int) -> list[str]:
    """Return the addresses of a host by the system's resolver."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(entry[4][0]) for entry in found]


def is_public(address: str) -> bool:
    """Return whether an address is one of the open internet, also when it wraps an IPv4 address."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if inner is None and any(ip in network for network in NAT64):
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(str(inner))
    return ip.is_global and not ip.is_multicast and not ip.is_reserved and not ip.is_unspecified


class UrlGuard:
    """Decides which URLs may be fetched.

    Args:
        resolver: Finds the addresses of a host.
        make_transport: Makes the transport that connects to a checked address.
    """

    def __init__(self, resolver: Resolver = resolve, make_transport: MakeTransport = httpx.AsyncHTTPTransport) -> None:
        self._resolver, self._make_transport = resolver, make_transport

    def check_form(self, url: str, parameter: str | None = None) -> None:
        """Refuse a URL that is not http(s), has no host, or holds a password.

        Raises:
            ForbiddenUrlError: It is one of those.
        """
        try:
            parts = urlsplit(url)
            fine = parts.scheme in ("http", "https") and parts.hostname and parts.username is None and parts.port != 0
        except ValueError:
            fine = False
        if not fine:
            raise ForbiddenUrlError("Only plain http and https URLs are fetched.", parameter=parameter)

    def transport(self) -> httpx.AsyncBaseTransport:
        """Return a transport that connects to public addresses alone."""
        return _GuardedTransport(self)

    async def address_of(self, host: str, port: int) -> str:
        """Return an address of a host, all of whose addresses are public.

        Raises:
            ForbiddenUrlError: One of them is not, or there is none.
        """
        try:
            addresses = await self._resolver(host, port)
        except OSError as error:
            raise ForbiddenUrlError(f"The host '{host}' has no address: {error}.") from error
        if not addresses or not all(is_public(address) for address in addresses):
            hint = "Private, loopback and link-local addresses are not fetched; send the file itself."
            raise ForbiddenUrlError(f"The host '{host}' is not on the public internet.", hint=hint)
        return addresses[0]


class _GuardedTransport(httpx.AsyncBaseTransport):
    """Connects to the very address that was checked, so that a second answer of the resolver changes nothing."""

    def __init__(self, guard: UrlGuard) -> None:
        self._guard, self._inner = guard, guard._make_transport()  # noqa: SLF001 (two halves of one thing)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        host = request.url.host
        port = request.url.port or (443 if request.url.scheme == "https" else 80)
        address = await self._guard.address_of(host, port)
        request.extensions = {**request.extensions, "sni_hostname": host}
        request.url = request.url.copy_with(host=address)
        return await self._inner.handle_async_request(request)

    async def aclose(self) -> None:
        await self._inner.aclose()
