"""Ray clusters of several nodes on this machine, for tests."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
import ray
from ray.cluster_utils import Cluster

from octabox.engine.ray.connection import prepare_environment

#: Folder of the package.
RAY = str(Path(ray.__file__).parent)

#: Bytes of a node's object store.
STORE = 80 * 1024**2


def add_node(cluster: Any, cpus: int = 1, gpus: int = 0, **resources: float) -> Any:
    """Add a node with room for so many models on CPUs, and with accelerators that are not there."""
    options = {"resources": resources} if resources else {}
    return cluster.add_node(num_cpus=cpus, num_gpus=gpus, object_store_memory=STORE, **options)


@contextmanager
def running_cluster(nodes: int, cpus: int = 1) -> Iterator[Any]:
    """Start a cluster with so many nodes, each with these CPUs, and end all of its processes after the context."""
    with pytest.MonkeyPatch.context() as patch:
        environ: dict[str, str] = {}
        prepare_environment(environ)
        for name, value in environ.items():
            patch.setenv(name, value)
        head = {"num_cpus": cpus, "num_gpus": 0, "object_store_memory": STORE, "include_dashboard": False}
        cluster: Any = Cluster(initialize_head=True, head_node_args=head)
        try:
            for _ in range(nodes - 1):
                add_node(cluster, cpus)
            yield cluster
        finally:
            children = psutil.Process().children(recursive=True)
            cluster.shutdown()
            _, left = psutil.wait_procs([each for each in children if is_of_ray(each)], 30)
            for each in left:
                each.kill()
            psutil.wait_procs(left, 10)


def is_of_ray(process: psutil.Process) -> bool:
    """Return whether a process is of a node: a program or script of the package, or one that has named itself by it."""
    try:
        command = process.cmdline()
    except psutil.Error:
        return False
    # Not the code of `python -c`: that of the fork server names every folder of sys.path, to which ray has added its own.
    program = list(itertools.takewhile(lambda part: part != "-c", command))
    return " ".join(program).startswith("ray::") or any(RAY in part for part in program)
