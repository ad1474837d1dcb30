"""The settings of the server for its connections: addresses, time limits and proxies; and those of one of its APIs."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field, SecretStr, field_validator

from octabox.config.sections.conditions import only_with
from octabox.security.hosts import parse_origin, split_host


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
        default=(),
        description="Web origins whose pages may call the server, such as `https://chat.example.org`; `*` is any origin.",
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
    url_hosts: tuple[str, ...] = Field(
        default=(),
        description="Hosts of private addresses, such as `files.example.org` or `10.0.0.7:8443`, whose URLs are fetched for "
        "inputs and models, and called as webhooks; by default only those of public addresses.",
    )

    @field_validator("cors_origins", "allowed_hosts", "trusted_proxies", "url_hosts", mode="before")
    @classmethod
    def _split_names(cls, value: Any) -> Any:
        """Split text at commas, for lists in environment variables."""
        return split_list(value)

    @field_validator("cors_origins")
    @classmethod
    def _origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        """Refuse anything but origins, and write them as browsers do: they are compared as text."""
        return tuple(map(parse_origin, value))

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

    @field_validator("url_hosts")
    @classmethod
    def _hosts(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        """Refuse anything but hosts: a pattern would include the services of this machine."""
        for each in value:
            split_host(each)
        return value

    @field_validator("public_url")
    @classmethod
    def _web_address(cls, value: str | None) -> str | None:
        """Refuse anything but a web address, and strip the trailing slash."""
        if value is not None and not value.startswith(("http://", "https://")):
            raise ValueError("must be a web address (http:// or https://)")
        return value.rstrip("/") if value else None


class A1111Settings(BaseModel):
    """Settings of the API of the AUTOMATIC1111 web UI."""

    a1111: bool = Field(
        default=True, description="Whether to serve the API of the AUTOMATIC1111 web UI; `--no-a1111` leaves it out."
    )
    a1111_auth: tuple[SecretStr, ...] = Field(
        default=(),
        description="Users of that API as USER:PASSWORD, one of which a client must send by HTTP Basic authentication; "
        "the API keys are valid too.",
        json_schema_extra=only_with(a1111=True),
    )
    a1111_server_control: bool = Field(
        default=False,
        description="Whether clients of that API may stop the server by `server-kill` and its siblings.",
        json_schema_extra=only_with(a1111=True),
    )

    a1111_outputs: Path | None = Field(
        default=None,
        description="Folder in which that API stores the images of requests with `save_images`; by default it stores none.",
        json_schema_extra=only_with(a1111=True),
    )

    @field_validator("a1111_auth", mode="before")
    @classmethod
    def _split_users(cls, value: Any) -> Any:
        """Split text at commas, for lists in environment variables."""
        return split_list(value)

    @field_validator("a1111_auth")
    @classmethod
    def _users(cls, value: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        """Refuse anything but a user and a password."""
        if not all(all(each.get_secret_value().partition(":")[::2]) for each in value):
            raise ValueError("must be USER:PASSWORD, both not empty")
        return value


def split_list(value: Any) -> Any:
    """Return the items of a list that is separated by commas; values that are not text are returned as they are."""
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value
