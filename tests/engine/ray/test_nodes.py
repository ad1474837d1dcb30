"""The node of this machine: how it starts, and which process is its own."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import ray

from clusters import is_of_ray
from octabox.engine.ray.nodes import STATE_FILE, NodeOptions, start_node, stop_node
from octabox.errors import ConfigError


def write_state(folder: Path, pid: int, started: float) -> None:
    """Write the state of a node."""
    (folder / STATE_FILE).write_text(json.dumps({"pid": pid, "started": started, "head": "h:1"}), encoding="utf-8")


def test_options_are_those_of_ray() -> None:
    """A head has a port and reports nothing to others, another node has an address, and no option that only a head has."""
    head = NodeOptions(port=7000, gpus=2).arguments
    other = NodeOptions(join="10.0.0.5:6379", host="10.0.0.6", cpus=0).arguments

    shared = NodeOptions(gpu_memory=24 * 2**30).arguments

    assert ["--head", "--port=7000"] == head[:2]
    assert "--num-gpus=2" in head
    assert '--resources={"accelerator_bytes": 25769803776}' in shared
    assert not any("resources" in each for each in NodeOptions(gpu_memory=0).arguments)
    assert ["--address=10.0.0.5:6379", "--node-ip-address=10.0.0.6", "--num-cpus=0"] == other[:3]
    assert {"--disable-usage-stats", "--include-dashboard=false", "--block"} < set(head)
    assert ["--block"] == other[3:]


def test_a_port_in_use_starts_no_head(tmp_path: Path) -> None:
    """Ray's own error would be an assertion about the session of the cluster that is there."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        options = NodeOptions(host="127.0.0.1", port=listener.getsockname()[1])
        with pytest.raises(ConfigError, match=r"Port \d+ of 127\.0\.0\.1 is in use") as caught:
            start_node(options, tmp_path)

    assert "--join" in str(caught.value.hint)
    assert [] == list(tmp_path.iterdir())


def test_only_its_own_process_is_ended(tmp_path: Path) -> None:
    """A process id that is another process's now is not signalled."""
    write_state(tmp_path, os.getpid(), psutil.Process().create_time() - 100)

    assert not stop_node(tmp_path)
    assert not (tmp_path / STATE_FILE).exists()
    assert not stop_node(tmp_path)


def test_a_second_node_is_refused_and_the_first_one_can_be_ended(tmp_path: Path) -> None:
    """The error has its process id."""
    process = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(60)"])
    write_state(tmp_path, process.pid, psutil.Process(process.pid).create_time())

    with pytest.raises(ConfigError, match=f"runs already, as process {process.pid}"):
        start_node(NodeOptions(), tmp_path)
    assert stop_node(tmp_path)
    assert process.poll() is not None


def test_a_node_whose_cluster_is_gone_ends_without_waiting(tmp_path: Path) -> None:
    """Nobody knows its calls; that is reported, with the reason."""
    process = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(60)"])
    started = psutil.Process(process.pid).create_time()
    state = {"pid": process.pid, "started": started, "head": "127.0.0.1:1"}
    (tmp_path / STATE_FILE).write_text(json.dumps(state), encoding="utf-8")
    reports: list[str] = []

    assert stop_node(tmp_path, 60.0, reports.append)
    assert process.poll() is not None
    assert 1 == len(reports)
    assert "are not waited for: No Ray cluster answers at 127.0.0.1:1" in reports[0]


def test_a_head_that_does_not_answer_cannot_be_joined(tmp_path: Path) -> None:
    """Nothing is started."""
    with pytest.raises(ConfigError, match=r"No Ray cluster answers at 127\.0\.0\.1:1"):
        start_node(NodeOptions(join="127.0.0.1:1"), tmp_path)
    assert [] == list(tmp_path.iterdir())


@pytest.mark.parametrize("is_script", [True, False])
def test_a_process_of_ray_is_told_by_its_program(is_script: bool, tmp_path: Path) -> None:
    """A fork server names ray's folders in its code, as all others of sys.path, and is not ended with a cluster."""
    folder = Path(ray.__file__).parent
    code = f"import sys, time; sys.path.append({str(folder)!r}); print(flush=True); time.sleep(60)"
    script = tmp_path / "script.py"
    script.write_text(code, encoding="utf-8")
    command = [sys.executable, "-c", code] if not is_script else [sys.executable, str(script), str(folder / "node.py")]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()
            found = is_of_ray(psutil.Process(process.pid))
        finally:
            process.kill()

    assert is_script == found
