"""Middleware of all routes."""

from __future__ import annotations

import httpx
import pytest

from fakes import Server

#: What the kubelet sends to a pod: its address and the port of the container.
POD = {"host": "10.1.2.3:8080"}


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
async def test_probes_of_kubernetes_need_no_name(method: str, path: str) -> None:
    """They call the address of the pod, which nobody knows when `allowed_hosts` is set."""
    http = Server(host="0.0.0.0", allowed_hosts="images.example.org").http

    assert 200 == (await http.request(method, path, headers=POD)).status_code


async def test_only_probes_may_use_an_address_as_name() -> None:
    """Other routes and methods need one of the names, and so do probes from pages of other sites."""
    http = Server(host="0.0.0.0", allowed_hosts="images.example.org").http

    async def status(method: str, path: str, headers: dict[str, str]) -> int:
        response: httpx.Response = await http.request(method, path, headers=headers)
        return response.status_code

    assert 403 == await status("GET", "/v1/models", POD)
    assert 403 == await status("POST", "/healthz", POD)
    assert 403 == await status("GET", "/readyz", {"host": "evil.example"})
    assert 403 == await status("GET", "/readyz", {**POD, "origin": "http://evil.example"})
