"""The versions that an installation is constrained to."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from importlib.metadata import version
from pathlib import Path

import pytest

from tested_versions import ROOT, constraints

TESTED = "sympy==1.14.0\ntorch==2.13.0\ntorchsde==0.2.6\n"
PROJECT = '    "torch>=2.7",\n    "torchsde>=0.2.6",\n'


@pytest.mark.parametrize(
    ("installed", "expected"),
    [
        (None, "2.13.0"),
        ("2.13.0", "2.13.0"),
        ("2.13.0+cpu", "2.13.0+cpu"),
        ("2.9.1+rocm6.4", "2.9.1+rocm6.4"),
        ("2.14.0", "2.14.0"),
        ("2.6.0+cu124", "2.13.0"),
    ],
)
def test_an_installed_torch_stays(installed: str | None, expected: str) -> None:
    """Whatever its build is, unless Octabox needs a later one; all other versions are the tested ones."""
    assert f"sympy==1.14.0\ntorch=={expected}\ntorchsde==0.2.6\n" == constraints(TESTED, PROJECT, installed)


def test_the_constraints_of_an_environment() -> None:
    """The program prints those of its interpreter, and in a new one, without any package, the tested ones."""
    script, tested = str(ROOT / "tools" / "tested_versions.py"), (ROOT / "constraints.txt").read_text(encoding="utf-8")
    printed = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True).stdout
    bare = subprocess.run([sys.executable, "-S", script], capture_output=True, text=True, check=True).stdout

    assert f"torch=={version('torch')}\n" in printed
    assert tested == bare


def package(index: Path, name: str, release: str, *requires: str) -> None:
    """Write a package without files into a folder of pip."""
    folder = f"{name}-{release}.dist-info"
    lines = [
        "Metadata-Version: 2.1",
        f"Name: {name}",
        f"Version: {release}",
        *(f"Requires-Dist: {x}" for x in requires),
    ]
    index.mkdir(exist_ok=True)
    with zipfile.ZipFile(index / f"{name}-{release}-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{folder}/METADATA", "\n".join(lines) + "\n")
        wheel.writestr(
            f"{folder}/WHEEL", "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{folder}/RECORD", "")


def test_pip_takes_the_torchvision_that_fits(tmp_path: Path) -> None:
    """Of the index of torch and pip's own, with later versions and the same ones of another build in the latter."""
    own, torch_index, target = tmp_path / "own", tmp_path / "torch", tmp_path / "site"
    for index, build, releases in (
        (own, "", (("2.9.1", "0.24.1"), ("2.13.0", "0.28.0"))),
        (torch_index, "+rocm6.4", (("2.9.1", "0.24.1"),)),
    ):
        for torch, torchvision in releases:
            package(index, "torch", f"{torch}{build}")
            package(index, "torchvision", f"{torchvision}{build}", f"torch=={torch}")
    file = tmp_path / "constraints.txt"
    file.write_text(constraints(TESTED, PROJECT, "2.9.1+rocm6.4"), encoding="utf-8")
    pip = [sys.executable, "-m", "pip", "--isolated", "install", "--quiet", "--no-index", "--target", str(target)]
    found = ["--find-links", str(own), "--find-links", str(torch_index)]
    subprocess.run([*pip, *found, "--constraint", str(file), "torch>=2.7", "torchvision"], check=True, timeout=120)

    assert {"torch-2.9.1+rocm6.4.dist-info", "torchvision-0.24.1+rocm6.4.dist-info"} == {
        each.name for each in target.glob("*.dist-info")
    }
