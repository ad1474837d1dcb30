"""What an actor checks and prepares before it starts a worker."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import ModuleType

import pytest

from fake_worker import PIPELINE, model
from octabox.engine.messages import Start, WorkerOptions
from octabox.engine.ray import worker_actor
from octabox.engine.ray.worker_actor import RemoteStart, check_files
from octabox.errors import LoadError


def start(path: str, *, has_files: bool) -> RemoteStart:
    """Return the start of a model."""
    config = model().model_copy(update={"model": path})
    return RemoteStart(Start(config, PIPELINE, WorkerOptions()), "/", has_files)


def test_files_that_a_node_lacks_are_named(tmp_path: Path) -> None:
    """The error states the node and the path; an id of the Hub is not a path."""
    check_files(start(str(tmp_path), has_files=True), "10.0.0.7")
    check_files(start("owner/model", has_files=False), "10.0.0.7")

    with pytest.raises(LoadError, match=r"Node 10\.0\.0\.7 has no file or folder /missing/model, which model 'demo'"):
        check_files(start("/missing/model", has_files=True), "10.0.0.7")


@pytest.mark.parametrize("resources", [{"CPU": 1.0}, {"GPU": 0.5}])
def test_threads_that_ray_has_set_are_removed(monkeypatch: pytest.MonkeyPatch, resources: dict[str, float]) -> None:
    """They are those of the actor's CPU, or one where it has an accelerator; a number that a user has set stays."""
    monkeypatch.setattr(worker_actor, "_assigned_resources", lambda: resources)
    monkeypatch.setitem(sys.modules, "__main__", ModuleType("__main__"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("MKL_NUM_THREADS", "4")
    worker_actor._prepare_environment()

    assert "OMP_NUM_THREADS" not in os.environ
    assert "4" == os.environ["MKL_NUM_THREADS"]
