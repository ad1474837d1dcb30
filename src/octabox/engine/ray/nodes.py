"""The nodes of a cluster: start or end the one of this machine, and list all."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from octabox.engine.ray.connection import (
    all_nodes,
    available_by_node,
    check_head,
    connect,
    disconnect,
    draining_nodes,
    node_address,
    prepare_environment,
)
from octabox.engine.ray.draining.node_drain import drain_node
from octabox.engine.ray.resources import ACCELERATOR_BYTES
from octabox.errors import ConfigError, OctaboxError
from octabox.security.json_files import read_json

#: Seconds for a node to start, and to end.
START_TIMEOUT, STOP_TIMEOUT = 120.0, 30.0

#: Seconds for the calls that run on a node before it ends, as pods have by the manifest for Kubernetes.
DRAIN_TIMEOUT = 60.0

#: Files of the node of this machine, in the cache folder: which process it is, and its output.
STATE_FILE, LOG_FILE = "cluster-node.json", "cluster-node.log"


@dataclass(frozen=True)
class NodeOptions:
    """How a node starts.

    Args:
        join: ``host:port`` of the head to join; None starts a head.
        port: Port of the head.
        host: Address of this machine for the other nodes.
        gpus: Accelerators for models; None is all that Ray finds.
        cpus: Models without an accelerator; None is one for each CPU.
        gpu_memory: Bytes of each accelerator, by which models share it; None or 0 reserves whole ones.
    """

    join: str | None = None
    port: int = 6379
    host: str | None = None
    gpus: int | None = None
    cpus: int | None = None
    gpu_memory: int | None = None

    @property
    def arguments(self) -> list[str]:
        """The arguments of ``ray start``."""
        # Ray refuses options of the head for other nodes.
        head = ["--head", f"--port={self.port}", "--include-dashboard=false", "--disable-usage-stats"]
        place = [f"--address={self.join}"] if self.join else head
        selected = {"--node-ip-address": self.host, "--num-gpus": self.gpus, "--num-cpus": self.cpus}
        options = [f"{name}={value}" for name, value in selected.items() if value is not None]
        if self.gpu_memory:
            options.append(f"--resources={json.dumps({ACCELERATOR_BYTES: self.gpu_memory})}")
        return [*place, *options, "--block"]


@dataclass(frozen=True)
class NodeInfo:
    """A node of a cluster.

    Args:
        address: Its address.
        alive: Whether it is.
        total: Its resources.
        free: Those that no replica has reserved.
        draining: Whether it is to end, and takes no more replicas.
    """

    address: str
    alive: bool
    total: Mapping[str, float]
    free: Mapping[str, float]
    draining: bool = False


def start_node(options: NodeOptions, folder: Path) -> str:
    """Start a node on this machine, which outlives this process; return the address of the head.

    Args:
        options: How it starts.
        folder: Where its state is kept for `stop_node`.

    Raises:
        ConfigError: One runs already, the head does not answer, or the node has not started.
    """
    if (running := _running(folder)) is not None:
        message = f"A node of this machine runs already, as process {running.pid}."
        raise ConfigError(message, hint="End it by `octabox cluster down`.")
    if options.join:
        check_head(options.join)
    else:
        _check_port(options)
    head = options.join or f"{options.host or node_address()}:{options.port}"
    folder.mkdir(parents=True, exist_ok=True)
    environ = dict(os.environ)
    prepare_environment(environ)
    log = folder / LOG_FILE
    with log.open("wb") as output:
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", *options.arguments]
        process = subprocess.Popen(
            command, stdout=output, stderr=output, stdin=subprocess.DEVNULL, env=environ, start_new_session=True
        )
    state = {"pid": process.pid, "started": psutil.Process(process.pid).create_time(), "head": head}
    (folder / STATE_FILE).write_text(json.dumps(state), encoding="utf-8")
    if not _wait_for_start(process, log, head):
        stop_node(folder)
        lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-3:]
        raise ConfigError(f"The node has not started: {' '.join(lines)}", hint=f"Its output is in {log}.")
    return head


def stop_node(folder: Path, timeout: float = 0.0, report: Callable[[str], None] = lambda _: None) -> bool:
    """End the node that `start_node` has started on this machine; return whether it ran.

    Args:
        folder: Where its state is kept.
        timeout: Seconds for the calls that run there to end, while it takes no others; with 0 they end with the node.
        report: Called with what it waits for, and what it does not.
    """
    process = _running(folder)
    if process and timeout:
        _drain(process, folder, timeout, report)
    with contextlib.suppress(FileNotFoundError):
        (folder / STATE_FILE).unlink()
    if process is None:
        return False
    # Ray's process ends those of the node; what is left after that is ended by force, as all of them are its children.
    family = [process, *process.children(recursive=True)]
    process.send_signal(signal.SIGTERM)
    _, left = psutil.wait_procs(family, STOP_TIMEOUT)
    for each in left:
        with contextlib.suppress(psutil.NoSuchProcess):
            each.kill()
    psutil.wait_procs(left, STOP_TIMEOUT)
    return True


def _drain(process: psutil.Process, folder: Path, timeout: float, report: Callable[[str], None]) -> None:
    """Wait until no call runs on a node that takes no others; one whose cluster does not answer ends without that."""
    try:
        head = read_json(folder / STATE_FILE)["head"]
        running = drain_node(head, [process, *process.children(recursive=True)], timeout, report)
    except (OctaboxError, psutil.Error) as error:
        report(f"The calls that run on this node are not waited for: {error}")
        return
    if running:
        counts = ", ".join(f"{each.count} of '{each.model}'" for each in running)
        report(f"After {timeout:g} seconds the node ends with calls that run: {counts}.")


def read_nodes(address: str) -> Sequence[NodeInfo]:
    """Return the nodes of a cluster.

    Raises:
        ConfigError: There is no such cluster, or it cannot be used.
    """
    with _connected(address):
        free, draining = available_by_node(), draining_nodes()
        return [
            NodeInfo(
                node["NodeManagerAddress"],
                node["Alive"],
                node["Resources"],
                free.get(node["NodeID"], {}),
                node["NodeID"] in draining,
            )
            for node in all_nodes()
        ]


def _check_port(options: NodeOptions) -> None:
    """Check that no other process has the port of a head; that of another cluster would take this one for its own.

    Raises:
        ConfigError: One has.
    """
    host = options.host or node_address()
    with contextlib.suppress(OSError), socket.create_connection((host, options.port), 1):
        message = f"Port {options.port} of {host} is in use, so that no head can start there."
        raise ConfigError(message, hint="Choose another one by --port, or join the cluster that uses it by --join.")


@contextlib.contextmanager
def _connected(address: str) -> Iterator[None]:
    connected = connect(address)
    try:
        yield
    finally:
        if connected:
            disconnect()


def _running(folder: Path) -> psutil.Process | None:
    """Return the process of this machine's node; None if there is none, or its id is that of another process now."""
    try:
        state = read_json(folder / STATE_FILE)
        process = psutil.Process(state["pid"])
        same = abs(process.create_time() - state["started"]) < 1 and process.status() != psutil.STATUS_ZOMBIE
    except (OSError, ValueError, KeyError, TypeError, psutil.Error):
        return None
    return process if same else None


def _wait_for_start(process: subprocess.Popen[bytes], log: Path, head: str) -> bool:
    """Wait until a node is a part of its cluster; return whether it is."""
    host, _, port = head.rpartition(":")
    end = time.monotonic() + START_TIMEOUT
    while time.monotonic() < end and process.poll() is None:
        if "Ray runtime started" in log.read_text(encoding="utf-8", errors="replace"):
            with contextlib.suppress(OSError):
                socket.create_connection((host.strip("[]"), int(port)), 1).close()
                return True
        time.sleep(0.2)
    return False
