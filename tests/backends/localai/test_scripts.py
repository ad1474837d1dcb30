"""The scripts of LocalAI's backend: its environment, its start and its tests."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dockerfiles import STEP_TIMEOUT, share_packages

ROOT = Path(__file__).parents[3]
BACKEND = ROOT / "backends" / "localai"


def run(command: list[str], cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a command without the settings of the tests."""
    names = ("OCTABOX_PYTHON", "PYTHONPATH", "MAKEFLAGS")
    environment = {name: value for name, value in os.environ.items() if name not in names}
    return subprocess.run(
        command,
        cwd=cwd,
        env={**environment, **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=STEP_TIMEOUT,
    )


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_make_diffusers_creates_an_environment(tmp_path: Path) -> None:
    """A new environment has the backend of this copy, which the packages of this environment complete."""
    packages = tmp_path / "venv" / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "venv")], check=True)
    share_packages(packages)
    made = run(["make", "-f", str(BACKEND / "Makefile"), "diffusers", "VENV=venv"], tmp_path)
    found = run(["venv/bin/python", "-P", "-c", "import octabox; print(octabox.__file__)"], tmp_path)

    assert made.returncode == 0, made.stderr
    assert found.stdout.strip() == str(packages / "octabox" / "__init__.py")
    assert (tmp_path / "venv" / ".installed").is_file()


def test_make_diffusers_takes_torch_from_its_index(tmp_path: Path) -> None:
    """First and alone, then what extras need as well; without an index it is pip's."""
    index = "https://download.pytorch.org/whl/cu126"
    dry = ["make", "--dry-run", "-f", str(BACKEND / "Makefile"), "diffusers", "VENV=venv", "EXTRAS=[full]"]
    named, plain = (run([*dry, *more], tmp_path).stdout for more in ((f"TORCH_INDEX={index}",), ()))

    assert f'--index-url "{index}"  "torch>=2.7"' in named
    assert f'--extra-index-url "{index}"  "{ROOT}[full]"' in named
    assert named.index("torch>=2.7") < named.index("tested_versions.py") < named.index("--extra-index-url")
    assert "index-url" not in plain
    assert "--constraint venv/constraints.txt" in plain


def test_the_environment_of_make_diffusers_is_found_first(tmp_path: Path) -> None:
    """`run.sh` prefers the environment next to it to that of the repository."""
    backend = tmp_path / "backends" / "localai"
    for folder in (backend, tmp_path):
        python = folder / ".venv" / "bin" / "python"
        python.parent.mkdir(parents=True)
        python.write_text(f"#!/bin/sh\necho {folder} $*\n", encoding="utf-8")
        python.chmod(0o755)
    shutil.copy(BACKEND / "run.sh", backend)

    def started() -> str:
        return run([str(backend / "run.sh"), "--addr", "x"], tmp_path).stdout.strip()

    assert f"{backend} -m octabox backend --addr x" == started()
    shutil.rmtree(backend / ".venv")
    assert f"{tmp_path} -m octabox backend --addr x" == started().replace(f"{backend}/../..", str(tmp_path))


@pytest.mark.slow
def test_the_script_runs_the_tests_of_the_backend(tmp_path: Path) -> None:
    """`test.sh` collects the tests of the loader and of the gRPC service, and passes its arguments to pytest."""
    done = run([str(BACKEND / "test.sh"), "--collect-only", "-n0"], tmp_path, OCTABOX_PYTHON=sys.executable)

    assert done.returncode == 0, done.stdout + done.stderr
    for folder in ("tests/compat", "tests/frontends/grpc", "tests/e2e/localai"):
        assert f"{folder}/" in done.stdout


def test_without_the_packages_of_the_tests_the_script_says_what_to_do(tmp_path: Path) -> None:
    """An interpreter without pytest is an error with the way out of it."""
    done = run([str(BACKEND / "test.sh")], tmp_path, OCTABOX_PYTHON="/bin/false")

    assert 127 == done.returncode
    assert "set OCTABOX_PYTHON to an interpreter that has it" in done.stderr
