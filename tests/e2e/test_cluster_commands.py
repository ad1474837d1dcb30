"""The commands of a cluster on one machine: a head and a node that joins it, a server on them, and what is refused."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from serving import running_server

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

HOST = "127.0.0.1"


class Machine:
    """A machine, whose node is known by its cache folder.

    Args:
        folder: The folder.
    """

    def __init__(self, folder: Path) -> None:
        self._environment = {**os.environ, "OCTABOX_CACHE_DIR": str(folder)}

    def cluster(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command of the cluster."""
        command = [sys.executable, "-m", "octabox", "cluster", *arguments]
        return subprocess.run(
            command, capture_output=True, text=True, env=self._environment, timeout=240, check=False, cwd="/"
        )


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Machine, Machine]]:
    """Return two machines, whose nodes end with the tests."""
    first, second = (Machine(tmp_path_factory.mktemp(name)) for name in ("first", "second"))
    yield first, second
    for each in (second, first):
        each.cluster("down")


@pytest.fixture(scope="module")
def head(machines: tuple[Machine, Machine]) -> str:
    """Return the address of the head of a cluster of both machines."""
    with socket.create_server((HOST, 0)) as free:
        port = free.getsockname()[1]
    first, second = machines
    up = first.cluster("up", "--host", HOST, "--port", str(port), "--cpus", "1")
    assert 0 == up.returncode, up.stderr
    joined = second.cluster("up", "--host", HOST, "--join", f"{HOST}:{port}", "--cpus", "1")
    assert 0 == joined.returncode, joined.stderr

    assert f"octabox cluster up --join {HOST}:{port}" in up.stderr
    assert f"This machine is a node of the cluster {HOST}:{port}." in joined.stdout
    return f"{HOST}:{port}"


def test_a_node_joins_the_head(machines: tuple[Machine, Machine], head: str) -> None:
    """Both are listed, from each of them."""
    for machine in machines:
        status = machine.cluster("status", "--ray-address", head)

        assert "2 of 2 nodes" in status.stdout, status.stderr
        assert 2 == status.stdout.count("1 of 1")


def test_what_is_up_is_not_started_again(machines: tuple[Machine, Machine], head: str, tmp_path: Path) -> None:
    """Neither on the same machine, nor as another head on the same port."""
    port = head.rpartition(":")[2]
    refused = [
        (machines[0], ("--port", port), "A node of this machine runs already"),
        (machines[1], ("--join", head), "A node of this machine runs already"),
        (Machine(tmp_path), ("--host", HOST, "--port", port), f"Port {port} of {HOST} is in use"),
    ]
    for machine, arguments, words in refused:
        result = machine.cluster("up", *arguments)

        assert 0 != result.returncode
        assert words in result.stderr


def test_a_server_runs_a_request_on_it(head: str, tmp_path: Path) -> None:
    """Two servers that start together are on one cluster, each with its own replica."""
    flags = ["--engine", "ray", "--ray-address", head, "--device", "cpu"]
    with running_server(tmp_path, *flags) as one, running_server(tmp_path, *flags) as two:
        body = {"model": "demo", "params": {"prompt": "a red circle", "num_inference_steps": 2}, "seed": 1}
        answers = [httpx.post(f"{url}/v1/generations", json=body, timeout=400, trust_env=False) for url in (one, two)]
        links = [
            httpx.URL(url).join(answer.json()["outputs"][0]["url"])
            for url, answer in zip((one, two), answers, strict=True)
        ]
        contents = {httpx.get(link, trust_env=False).content for link in links}

    assert 1 == len(contents)


def test_what_is_down_is_lost_for_the_others(machines: tuple[Machine, Machine], head: str) -> None:
    """A second time there is nothing to end; once the head has ended, there is no cluster."""
    first, second = machines
    words = [second.cluster("down").stdout for _ in range(2)]
    status = first.cluster("status", "--ray-address", head)
    last = first.cluster("down").stdout
    gone = first.cluster("status", "--ray-address", head)

    assert ["The node of this machine has ended.\n", "No node of this machine was running.\n"] == words
    assert "1 of 2 nodes" in status.stdout
    assert "The node of this machine has ended.\n" == last
    assert 0 != gone.returncode
    assert f"No Ray cluster answers at {head}" in gone.stderr
