"""The settings of the server for its connections: addresses, time limits and proxies."""

from __future__ import annotations

import ipaddress
from typing import Any

from pydantic import BaseModel, Field, field_validator


class ConnectionSettings(BaseModel):
    """Settings of the server for its connections."""

    host: str = Field(default="127.0.0.1", description="Address to listen on; 0.0.0.0 is all addresses.")
    port: int = Field(default=8080, description="Port to listen on; 0 selects a free one.", ge=0, le=65535)
    ui: bool = Field(default=True, description="Whether to serve the web page at `/`.")
    public_url: str | None = Field(
        default=None, description="URL by which clients reach the server, for links in responses."
    )
    header_timeout: float = Field(default=15.0, description="Timeout for the headers of a request, in seconds.", gt=0)
    body_timeout: float = Field(
        default=60.0,
        description="Timeout for the body of a request, and for a client that does not read its response, in seconds. "
        "A body has 1 second more for each 10 KiB.",
        gt=0,
    )
    keep_alive_timeout: float = Field(
        default=30.0, description="Time until a connection without a request is closed, in seconds.", gt=0
    )
    max_connections: int = Field(
        default=1000,
        description="Maximum number of connections, and at most what the limit on open files allows. "
        "For a further one, the longest idle connection is closed.",
        ge=1,
    )
    cors_origins: tuple[str, ...] = Field(
        default=(), description="Web origins whose pages may call the server; `*` is any origin."
    )
    allowed_hosts: tuple[str, ...] = Field(
        default=(),
        description="Host names that clients may use for the server, such as `gpu.example.org` or `*.example.org`; `*` is any. "
        "Default: loopback names if `host` is a loopback address, otherwise any.",
    )
    trusted_proxies: tuple[str, ...] = Field(
        default=("127.0.0.1", "::1"),
        description="Addresses and networks of reverse proxies, such as `10.0.0.0/8`, whose `X-Forwarded-*` headers are used; "
        "`*` is any.",
    )

    @field_validator("cors_origins", "allowed_hosts", "trusted_proxies", mode="before")
    @classmethod
    def _split_names(cls, value: Any) -> Any:
        """Split text at commas, for lists in environment variables."""
        return split_list(value)

    @field_validator("trusted_proxies")
    @classmethod
    def _networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        """Refuse anything but addresses and networks."""
        for each in value:
            if each != "*":
                try:
                    ipaddress.ip_network(each, strict=False)
                except ValueError:
                    raise ValueError("must be addresses or networks, such as 10.0.0.0/8") from None
        return value

    @field_validator("public_url")
    @classmethod
    def _web_address(cls, value: str | None) -> str | None:
        """Refuse anything but a web address, and strip the trailing slash."""
        if value is not None and not value.startswith(("http://", "https://")):
            raise ValueError("must be a web address (http:// or https://)")
        return value.rstrip("/") if value else None


def split_list(value: Any) -> Any:
    """Return the items of a list that is separated by commas; values that are not text are returned as they are."""
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value
