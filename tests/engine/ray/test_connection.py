"""The connection to a cluster: what is refused before Ray, which would end the process, tries it."""

from __future__ import annotations

import socket
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from ray._private import services

from octabox.engine.ray.connection import check_head, connect, prepare_environment
from octabox.errors import ConfigError


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("nonsense", "must be auto or host:port, not 'nonsense'"),
        ("host:", "must be auto or host:port"),
        ("ray://10.0.0.5:10001", "that of a Ray client"),
        ("127.0.0.1:1", "No Ray cluster answers at 127.0.0.1:1"),
        ("127.0.0.1:99999", "No Ray cluster answers"),
    ],
)
def test_an_address_without_a_cluster_is_refused(address: str, words: str) -> None:
    """The error states the address, and the hint what to do."""
    with pytest.raises(ConfigError, match=words) as caught:
        check_head(address)

    assert caught.value.hint


@pytest.mark.parametrize(
    ("answer", "accepted"),
    [
        (bytes([0, 0, 24, 4, 0, 0, 0, 0, 0]) + bytes(24), True),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", False),
        (b"", False),
    ],
)
def test_only_what_speaks_the_protocol_is_a_head(answer: bytes, accepted: bool) -> None:
    """Ray would wait for another server indefinitely; the first frame of HTTP/2 is that of a head."""
    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as pool:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        checked = pool.submit(check_head, address)
        connection, _ = listener.accept()
        with connection:
            assert connection.recv(100).startswith(b"PRI * HTTP/2.0")
            connection.sendall(answer)
        error = checked.exception(10)

    assert accepted == (error is None)
    if not accepted:
        assert f"What answers at {address} is not the head of a Ray cluster." in str(error)


def test_an_encrypted_connection_is_left_to_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    """What answers is not readable without its certificates."""
    monkeypatch.setenv("RAY_USE_TLS", "1")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        check_head(f"127.0.0.1:{listener.getsockname()[1]}")


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (None, "No Ray cluster runs on this machine"),
        (ConnectionError(), "No Ray cluster runs on this machine"),
        ("127.0.0.1:1", "No Ray cluster answers at 127.0.0.1:1"),
    ],
)
def test_a_cluster_of_this_machine_that_has_ended(monkeypatch: pytest.MonkeyPatch, found: Any, words: str) -> None:
    """Ray finds the head by what is left of it, and would end this process since it does not answer."""

    def find(_address: str) -> Any:
        if isinstance(found, Exception):
            raise found
        return found

    monkeypatch.setattr(services, "canonicalize_bootstrap_address", find)
    with pytest.raises(ConfigError, match=words):
        connect("auto")


def test_what_users_set_stays() -> None:
    """Ray reports nothing and lowers no priority, unless a variable says otherwise."""
    environ = {"RAY_worker_niceness": "15"}
    prepare_environment(environ)

    assert {"RAY_worker_niceness": "15", "RAY_USAGE_STATS_ENABLED": "0"} == environ
