"""Keep web pages of other sites from using the server through a visitor's browser.

Two ways lead there: a page sends a request across sites (CSRF), which the browser marks with the page's ``Origin``; or a page's
own host name is made to resolve to the server's address (DNS rebinding), so that the request's ``Host`` is the page's.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from urllib.parse import urlsplit

from octabox.errors import ForbiddenHostError, ForbiddenOriginError

#: Stands for every host, or for every origin.
ANY = "*"

#: Ports that a browser leaves out of `Host` and `Origin`.
DEFAULT_PORTS = {"http": 80, "https": 443}


class HostPolicy:
    """Decides which hosts requests may be addressed to, and which origins they may come from.

    Args:
        bound: Address that the server listens on. On a loopback address only loopback names are accepted as ``Host``, so that
            no other name can be rebound to it; elsewhere any host is, unless ``hosts`` names those that are.
        hosts: Host names that are accepted beside; ``*`` is any, ``*.example.org`` are all names below.
        origins: Web origins, such as ``https://chat.example.org``, whose pages may call the server; ``*`` is any.
    """

    def __init__(self, bound: str, hosts: Iterable[str] = (), origins: Iterable[str] = ()) -> None:
        self._local = is_loopback(bound)
        self._hosts = tuple(host.lower().rstrip(".") for host in hosts)
        self._origins = frozenset(origin.lower().rstrip("/") for origin in origins)

    def check(self, host: str | None, origin: str | None, scheme: str = "http") -> None:
        """Check the headers of a request.

        Args:
            host: Its ``Host``; None where the client sent none (HTTP/1.0), which no browser does.
            origin: Its ``Origin``; None where no web page sent it.
            scheme: Scheme that it came by, for the port that ``Host`` leaves out.

        Raises:
            ForbiddenHostError: It is addressed to a host that is not this server's.
            ForbiddenOriginError: A page of another site sent it.
        """
        if host is not None and not self._accepts(hostname(host)):
            raise ForbiddenHostError(
                f"The host '{host[:100]}' is not one of this server's.",
                hint="Add it to the setting `allowed_hosts`, if clients are to reach the server by that name.",
            )
        if origin is None or ANY in self._origins or origin.lower() in self._origins:
            return
        if host is not None and _address(origin) == _address(f"{scheme}://{host}"):
            return
        if (page := _address(origin)) is not None and self._names(page[0]):
            return
        raise ForbiddenOriginError(
            f"Pages of '{origin[:100]}' may not use this server.",
            hint="Add the origin to the setting `cors_origins`, if they are to.",
        )

    def _accepts(self, name: str) -> bool:
        """Return whether requests may be addressed to a host."""
        if self._names(name) or ANY in self._hosts:
            return True
        return is_loopback(name) if self._local else not self._hosts or is_loopback(name)

    def _names(self, name: str) -> bool:
        """Return whether a host is one of those that are named."""
        return any(name == host or (host.startswith("*.") and name.endswith(host[1:])) for host in self._hosts)


def hostname(netloc: str) -> str:
    """Return the name in ``name:port``, in lower case and without the brackets of an IPv6 address."""
    text = netloc.rpartition("@")[2].strip().lower()
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return (text.partition(":")[0] if text.count(":") <= 1 else text).rstrip(".")


def is_loopback(name: str) -> bool:
    """Return whether a host name or address leads to the same machine, whatever a name server says (RFC 6761)."""
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name.partition("%")[0]).is_loopback
    except ValueError:
        return False


def _address(url: str) -> tuple[str, int | None] | None:
    """Return the host and the port of an origin; None where it has none, such as ``null``."""
    try:
        parts = urlsplit(url)
        port = parts.port or DEFAULT_PORTS.get(parts.scheme)
    except ValueError:
        return None
    return (hostname(parts.netloc), port) if parts.netloc else None
