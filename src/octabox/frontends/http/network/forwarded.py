"""Headers of reverse proxies that state how a client has reached them; those of strangers are ignored."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from octabox.frontends.http.middleware import RECEIVED_HOST

#: Valid values of the headers, by header; others are ignored.
VALID = {
    "x-forwarded-proto": re.compile(r"https?"),
    "x-forwarded-host": re.compile(r"[A-Za-z0-9._-]+(:\d{1,5})?|\[[0-9A-Fa-f:.]+\](:\d{1,5})?"),
    "x-forwarded-prefix": re.compile(r"(/[A-Za-z0-9._~-]+)+/?"),
}

#: First status of redirects, and the first after them.
REDIRECTS = range(300, 400)


class ForwardedHeaders:
    """Takes the host, the scheme, the prefix of the path and the address of the client from trusted proxies.

    Args:
        app: The next application.
        trusted: Addresses and networks of proxies; ``*`` is any.
    """

    def __init__(self, app: ASGIApp, trusted: Iterable[str] = ()) -> None:
        self._app, names = app, tuple(trusted)
        self._any = "*" in names
        self._networks = [ipaddress.ip_network(name, strict=False) for name in names if name != "*"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        client = scope.get("client")
        if client and self._trusts(client[0]):
            scope = self._forwarded(scope)

        async def send_relative(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] in REDIRECTS:
                _make_relative(message, scope)
            await send(message)

        await self._app(scope, receive, send_relative)

    def _trusts(self, address: str) -> bool:
        """Return whether an address is one of a proxy."""
        if self._any or not self._networks:
            return self._any
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            return False
        mapped = getattr(parsed, "ipv4_mapped", None) or parsed
        return any(mapped in network for network in self._networks)

    def _forwarded(self, scope: Scope) -> Scope:
        """Return the scope of a request as the client has sent it to the first proxy."""
        headers = MutableHeaders(scope={**scope, "headers": list(scope["headers"])})
        addresses = _values(headers, "x-forwarded-for")
        # Each proxy appends the address that it was called from: the last one that is not a proxy's is the client's.
        hops = 1
        while hops <= len(addresses) and self._trusts(addresses[-hops]):
            hops += 1
        scope = {**scope, RECEIVED_HOST: headers.get("host")}
        if addresses:
            scope["client"] = (addresses[-min(hops, len(addresses))], 0)
        if protocol := _value(headers, "x-forwarded-proto", hops):
            scope["scheme"] = protocol
        if prefix := _value(headers, "x-forwarded-prefix", hops):
            scope["root_path"] = prefix.rstrip("/")
        if host := _value(headers, "x-forwarded-host", hops):
            headers["host"] = host
        return {**scope, "headers": headers.raw}


def _values(headers: Headers, name: str) -> list[str]:
    """Return the values of a header, which may be repeated."""
    return [value.strip() for value in ",".join(headers.getlist(name)).split(",") if value.strip()]


def _value(headers: Headers, name: str, hops: int) -> str | None:
    """Return the value that the first of the trusted proxies has set; None if there is none, or it is not valid.

    Args:
        headers: The headers of a request.
        name: Name of the header.
        hops: Number of trusted proxies, each of which may have appended a value.
    """
    values = _values(headers, name)
    value = values[-min(hops, len(values))] if values else ""
    return value if VALID[name].fullmatch(value) else None


def _make_relative(message: Message, scope: Scope) -> None:
    """Replace the URL of a redirect to this server by its path, which is valid whatever the name of the server is."""
    headers = MutableHeaders(raw=message["headers"])
    target = urlsplit(headers.get("location", ""))
    if target.netloc and target.netloc == Headers(scope=scope).get("host"):
        root: str = scope.get("root_path", "")
        path = target.path if target.path.startswith(f"{root}/") else root + target.path
        headers["location"] = f"{path}?{target.query}" if target.query else path
        message["headers"] = headers.raw
