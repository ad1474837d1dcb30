"""How worker processes are started; the process that they are forked from does not initialise CUDA."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest

from accelerator.engine_run import run_engine
from octabox.engine.local.processes.forkserver import PRELOAD_ENV, ProcessStarter, can_fork
from octabox.engine.messages import BadFork
from pretended_cuda import CHECK, worker_finds

TESTS = Path(__file__).parents[3]

#: Variable that names an interpreter whose torch is a CUDA build, so that none has to be downloaded.
CUDA_PYTHON = "PYTHON_WITH_CUDA_BUILD"


def test_the_preload_initialises_no_device() -> None:
    """No function that initialises CUDA is called while the fork server imports what workers need."""
    found = worker_finds()

    assert found["preloaded"]
    assert [] == found["calls"]


@pytest.mark.slow
def test_the_count_would_show_an_initialised_device() -> None:
    """Where devices are counted by the driver, the same imports initialise CUDA, which the test above would find."""
    assert "_cuda_getDeviceCount" in worker_finds(environment={CHECK: "0"})["calls"]


def test_going_over_to_spawn_is_logged_once(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two workers that report a bad fork cause one warning, which names what has been initialised."""
    monkeypatch.setenv(PRELOAD_ENV, "diffusers.AutoencoderKL")
    monkeypatch.setattr(logging.getLogger("octabox"), "propagate", True)
    caplog.set_level(logging.WARNING, "octabox.engine")
    processes = ProcessStarter(spawns=False)
    for _ in range(2):
        processes.use_spawn(BadFork(("cuda",)))

    assert processes.spawns
    assert "spawn" == processes.context.get_start_method()
    assert PRELOAD_ENV not in os.environ
    # A record comes once by each logger that the fixture listens to.
    assert 1 == len({id(record) for record in caplog.records if "initialised cuda" in record.getMessage()})


@pytest.mark.parametrize(
    ("platform", "build", "forks"),
    [
        ("linux", "2.13.0", True),
        ("linux", "2.13.0+cu130", True),
        ("linux", "2.13.0+xpu", False),
        ("darwin", "2.13.0", False),
    ],
)
def test_processes_are_spawned_where_no_fork_is_possible(
    monkeypatch: pytest.MonkeyPatch, platform: str, build: str, forks: bool
) -> None:
    """On macOS, and with a build for Intel's GPUs, workers are spawned from the start."""
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr("importlib.metadata.version", lambda _: build)

    assert forks is can_fork()
    assert forks is not ProcessStarter().spawns


@pytest.fixture(scope="module")
def cuda_python(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return an interpreter with a CUDA build of torch and the other packages of this environment; it takes 5 GB."""
    if python := os.environ.get(CUDA_PYTHON):
        yield python
        return
    folder = tmp_path_factory.mktemp("cuda") / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    python = str(folder / "bin" / "python")
    release = version("torch").partition("+")[0]
    # Three signs of equality: a build of the same release without CUDA does not match.
    install = [sys.executable, "-m", "pip", "--python", python, "install", "--no-cache-dir", f"torch==={release}"]
    done = subprocess.run(install, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(
            f"No CUDA build of torch {release} could be installed by {' '.join(install)}: {done.stderr[-1000:]}"
        )
    ask = "import sysconfig; print(sysconfig.get_path('purelib'))"
    packages = subprocess.run([python, "-c", ask], capture_output=True, text=True, check=True).stdout.strip()
    Path(packages, "this_environment.pth").write_text(sysconfig.get_path("purelib"), encoding="utf-8")
    yield python
    shutil.rmtree(folder)


@pytest.mark.network
@pytest.mark.timeout(1800)
def test_a_cuda_build_of_torch_is_left_alone(cuda_python: str) -> None:
    """With a real CUDA build and NVML, no fork is a bad one; counting devices by the driver would make it one."""
    found = worker_finds(cuda_python)
    if found["cuda"] is None:
        pytest.skip(f"The index's torch is not a CUDA build; {CUDA_PYTHON} can name an interpreter that has one.")

    assert [] == found["bad_fork"]
    assert ["cuda"] == worker_finds(cuda_python, {CHECK: "0"})["bad_fork"]


@pytest.mark.network
@pytest.mark.timeout(1800)
def test_a_cuda_build_without_a_gpu_runs_on_the_processor(cuda_python: str) -> None:
    """Without NVML the fork is a bad one; where there is no GPU either, workers are forked anyway, without a warning."""
    if shutil.which("nvidia-smi"):
        pytest.skip("This machine has a driver.")
    path = os.pathsep.join([str(TESTS), *filter(None, [os.environ.get("PYTHONPATH")])])
    outcome = run_engine([{"load": ["demo"]}], {**os.environ, "PYTHONPATH": path}, cuda_python)

    assert "cpu" == outcome.results[0][0]["device"]
    assert [] == [line for line in outcome.log if "WARNING" in line]
