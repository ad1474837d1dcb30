"""Look-ups of names whose name server does not answer."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from typing import Any

import pytest

from octabox.security.resolver import SystemResolver


async def test_lookups_that_hang_occupy_no_other_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many names are not answered, threads of the event loop are free; those who left make room."""
    release = threading.Event()
    running: list[str] = []

    def hang(host: str, port: int, **_: Any) -> Any:
        running.append(host)
        if host != "quick":
            release.wait(20)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("93.184.216.34", port))]

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    resolver = SystemResolver(max_lookups=3)
    lookups = [asyncio.create_task(resolver(f"slow{number}", 80)) for number in range(24)]
    await asyncio.sleep(0.1)
    began = time.monotonic()
    await asyncio.to_thread(lambda: None)
    assert time.monotonic() - began < 5
    assert 3 == len(running)
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(resolver("late", 80), 0.05)
    for task in lookups:
        task.cancel()
    await asyncio.gather(*lookups, return_exceptions=True)
    release.set()

    assert ["93.184.216.34"] == await asyncio.wait_for(resolver("quick", 80), 5)


@pytest.mark.parametrize("host", ["no.such.host.invalid", "a" * 70, "xn--", "xn--\udc80", "a..b"])
async def test_a_name_that_is_none(host: str) -> None:
    """A name without an address, or that is not one, is an error that the caller handles."""
    with pytest.raises((OSError, UnicodeError)):
        await SystemResolver()(host, 80)
