"""The connection of this process to a cluster."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
from collections.abc import MutableMapping
from typing import Any

import ray
from ray._private import services
from ray._private.state import available_resources_per_node, state

from octabox.errors import ConfigError

#: Seconds for the head of a cluster to accept a connection.
CONNECT_TIMEOUT = 5.0

#: Namespace of the actors.
NAMESPACE = "octabox"

#: Ray sends no statistics of its use, and does not lower the priority of workers, which would run after all else.
ENVIRONMENT = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0"}

#: What a client of HTTP/2 sends first, with an empty frame of settings; and of the answer, the bytes before the content of
#: a frame, of which the fourth is its type.
_SETTINGS = b"\x04"
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00\x00\x00" + _SETTINGS + b"\x00" * 5
_FRAME_HEADER = 9

_HINT = "Start a cluster with `octabox cluster up`, or leave `ray_address` out to start one on this machine."


def connect(address: str | None) -> bool:
    """Connect this process to a cluster, unless it is connected; return whether it was not.

    Args:
        address: ``host:port`` of its head; ``auto`` is the one that runs on this machine, None starts one here.

    Raises:
        ConfigError: There is no such cluster, or it cannot be used.
    """
    if ray.is_initialized():
        return False
    prepare_environment(os.environ)
    if address and address != "local":
        check_head(_find_head() if address == "auto" else address)
    try:
        ray.init(
            address=address or "local",
            namespace=NAMESPACE,
            include_dashboard=None if address else False,
            configure_logging=False,
            logging_level=logging.WARNING,
        )
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        message = " ".join(str(error).split())
        raise ConfigError(f"No Ray cluster can be used at '{address or 'local'}': {message}", hint=_HINT) from error
    return True


def prepare_environment(environ: MutableMapping[str, str]) -> None:
    """Set what Ray reads from the environment where a node is started, unless that was done."""
    for name, value in ENVIRONMENT.items():
        environ.setdefault(name, value)


def _find_head() -> str:
    """Return the address of the head of the cluster that runs on this machine, as Ray finds it.

    Raises:
        ConfigError: There is none.
    """
    with contextlib.suppress(ConnectionError, ValueError):
        if found := services.canonicalize_bootstrap_address("auto"):
            return str(found)
    raise ConfigError("No Ray cluster runs on this machine.", hint=_HINT, parameter="ray_address")


def check_head(address: str) -> None:
    """Check that the head of a cluster answers; Ray itself would end this process if it did not, or wait indefinitely.

    Raises:
        ConfigError: It does not.
    """
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if address.startswith("ray://"):
        message = f"`ray_address` '{address}' is that of a Ray client, which the server cannot be."
        raise ConfigError(message, hint="Use the address of the head, such as 10.0.0.5:6379.", parameter="ray_address")
    if not host or not port.isdecimal():
        message = f"`ray_address` must be auto or host:port, not '{address}'."
        raise ConfigError(message, hint="Such as 10.0.0.5:6379.", parameter="ray_address")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), CONNECT_TIMEOUT) as connection:
            answers = "RAY_USE_TLS" in os.environ or _speaks_http2(connection)
    except (OSError, OverflowError) as error:
        raise ConfigError(
            f"No Ray cluster answers at {address}: {error}.", hint=_HINT, parameter="ray_address"
        ) from error
    if not answers:
        message = f"What answers at {address} is not the head of a Ray cluster."
        raise ConfigError(message, hint="Use the port of the head, by default 6379.", parameter="ray_address")


def _speaks_http2(connection: socket.socket) -> bool:
    """Return whether a server answers with the first frame of HTTP/2, which the protocol of Ray uses."""
    connection.sendall(_PREFACE)
    with connection.makefile("rb") as answer:
        return answer.read(_FRAME_HEADER)[3:4] == _SETTINGS


def disconnect() -> None:
    """Leave the cluster; one that was started by `connect` ends."""
    with contextlib.suppress(Exception):
        ray.shutdown()


def node_address() -> str:
    """Return the address of this machine for other nodes."""
    return str(ray.util.get_node_ip_address())  # type: ignore[no-untyped-call]


def all_nodes() -> list[dict[str, Any]]:
    """Return the nodes of the cluster, lost ones included, as Ray describes them."""
    return list(ray.nodes())  # type: ignore[no-untyped-call]


def available_by_node() -> dict[str, dict[str, float]]:
    """Return the free resources of each node that is alive, by its id; Ray has no public function for it."""
    return dict(available_resources_per_node())  # type: ignore[no-untyped-call]


def draining_nodes() -> set[str]:
    """Return the ids of the nodes that are being drained, such as by an autoscaler; Ray has no public function for it."""
    return set(state.get_draining_nodes())
