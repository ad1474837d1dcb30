"""Checks of `Host` and `Origin` headers against web pages of other sites.

Two attacks are refused: a cross-site request (CSRF), which the browser marks with the page's ``Origin``; and a page whose host
name resolves to the server's address (DNS rebinding), so that the request's ``Host`` is the page's.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from urllib.parse import urlsplit

from octabox.errors import ForbiddenHostError, ForbiddenOriginError

#: Any host, or any origin.
ANY = "*"

#: Origin of a page that has none, such as a local file.
OPAQUE = "null"

#: Ports that browsers omit in `Host` and `Origin`.
DEFAULT_PORTS = {"http": 80, "https": 443}


class HostPolicy:
    """Check the ``Host`` and the ``Origin`` of requests.

    Args:
        bound: Address that the server listens on. For a loopback address only loopback names are accepted as ``Host``, so that
            no other name can be rebound to it; otherwise any host is accepted, unless ``hosts`` is given.
        hosts: Additional host names; ``*`` is any, ``*.example.org`` is any subdomain.
        origins: Web origins, such as ``https://chat.example.org``, whose pages may call the server; ``*`` is any.
    """

    def __init__(self, bound: str, hosts: Iterable[str] = (), origins: Iterable[str] = ()) -> None:
        self._local = is_loopback(bound)
        self._hosts = tuple(host.lower().rstrip(".") for host in hosts)
        self._origins = frozenset(origin.lower().rstrip("/") for origin in origins)

    def check(self, host: str | None, origin: str | None, scheme: str = "http", *, is_probe: bool = False) -> None:
        """Check the headers of a request.

        Args:
            host: Its ``Host``; None if the client sent none (HTTP/1.0), which browsers never do.
            origin: Its ``Origin``; None if it does not come from a web page.
            scheme: Its scheme, for the default port of ``Host``.
            is_probe: Whether it asks for the health of the server. ``Host`` may be any IP address then: probes of Kubernetes
                and of load balancers know no name, and no DNS can bind an address to this server.

        Raises:
            ForbiddenHostError: The host is not one of the server's names.
            ForbiddenOriginError: The request comes from a page of another site.
        """
        if host is not None and not self._accepts(hostname(host)) and not (is_probe and _is_address(hostname(host))):
            raise ForbiddenHostError(
                f"The host '{host[:100]}' is not a name of this server.",
                hint="To let clients use that name, add it to the setting `allowed_hosts`.",
            )
        if origin is None or ANY in self._origins or origin.lower() in self._origins:
            return
        if host is not None and _address(origin) == _address(f"{scheme}://{host}"):
            return
        if (page := _address(origin)) is not None and self._is_listed(page[0]):
            return
        raise ForbiddenOriginError(
            f"Pages of '{origin[:100]}' may not use this server.",
            hint="To allow them, add the origin to the setting `cors_origins`.",
        )

    def _accepts(self, name: str) -> bool:
        """Return whether a host is accepted."""
        if self._is_listed(name) or ANY in self._hosts:
            return True
        return is_loopback(name) if self._local else not self._hosts or is_loopback(name)

    def _is_listed(self, name: str) -> bool:
        """Return whether a host matches the list."""
        return any(name == host or (host.startswith("*.") and name.endswith(host[1:])) for host in self._hosts)


def hostname(netloc: str) -> str:
    """Return the name in ``name:port``, in lower case and without the brackets of an IPv6 address."""
    text = netloc.rpartition("@")[2].strip().lower()
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return (text.partition(":")[0] if text.count(":") <= 1 else text).rstrip(".")


def split_host(text: str) -> tuple[str, int | None]:
    """Return the name and the port of a host such as ``files.example.org`` or ``10.0.0.7:8443``; without a port, None.

    Raises:
        ValueError: It has another form, such as that of a URL or of a pattern.
    """
    try:
        parts = urlsplit(f"//{text}")
        name, port = hostname(parts.netloc), parts.port
    except ValueError:
        parts, name, port = urlsplit(""), "", None
    if not name or parts.netloc != text or parts.username is not None or set(name) & set("*% "):
        raise ValueError("must be hosts, such as files.example.org or 10.0.0.7:8443")
    return name, port


def parse_origin(text: str) -> str:
    """Return a web origin as browsers send it: in lower case, and without the default port of its scheme (RFC 6454).

    Args:
        text: Such as ``https://chat.example.org``; ``*`` is any origin, ``null`` that of a page without one, such as a file.

    Raises:
        ValueError: It has another form, such as that of a host or of a pattern.
    """
    if text in (ANY, OPAQUE):
        return text
    try:
        parts = urlsplit(text)
        name, port = hostname(parts.netloc), parts.port
    except ValueError:
        parts, name, port = urlsplit(""), "", None
    is_origin = parts.path in ("", "/") and not (parts.query or parts.fragment or "@" in parts.netloc)
    if not parts.scheme or not name or not is_origin or not name.isascii() or set(name) & set("*% "):
        raise ValueError("must be origins, such as https://chat.example.org, or *")
    host = f"[{name}]" if ":" in name else name
    return f"{parts.scheme}://{host}{'' if port in (None, DEFAULT_PORTS.get(parts.scheme)) else f':{port}'}"


def is_loopback(name: str) -> bool:
    """Return whether a host name or address is a loopback one, whatever the DNS answers (RFC 6761)."""
    if name == "localhost" or name.endswith(".localhost"):
        return True
    return _is_address(name) and ipaddress.ip_address(name.partition("%")[0]).is_loopback


def _is_address(name: str) -> bool:
    """Return whether a host is an IP address, which no DNS can bind to another machine."""
    try:
        ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        return False
    return True


def _address(url: str) -> tuple[str, int | None] | None:
    """Return the host and the port of an origin; None if it has none, such as ``null``."""
    try:
        parts = urlsplit(url)
        port = parts.port or DEFAULT_PORTS.get(parts.scheme)
    except ValueError:
        return None
    return (hostname(parts.netloc), port) if parts.netloc else None
