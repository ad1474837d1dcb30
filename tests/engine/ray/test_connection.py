"""The connection to a cluster: what is refused before Ray, which would end the process, tries it."""

from __future__ import annotations

import socket

import pytest

from octabox.engine.ray.connection import check_head, prepare_environment
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


def test_a_port_that_answers_is_accepted() -> None:
    """What answers there is found out by Ray."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        check_head(f"127.0.0.1:{listener.getsockname()[1]}")


def test_what_users_set_stays() -> None:
    """Ray reports nothing and lowers no priority, unless a variable says otherwise."""
    environ = {"RAY_worker_niceness": "15"}
    prepare_environment(environ)

    assert {"RAY_worker_niceness": "15", "RAY_USAGE_STATS_ENABLED": "0"} == environ
