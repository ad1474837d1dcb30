"""Other versions of diffusers are read by the same code."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from octabox.catalog.reading.package import read_package
from octabox.catalog.tasks import vocabulary

#: Where code would ask which version of diffusers it reads.
SOURCE = Path(__file__).parents[2] / "src" / "octabox"


@pytest.mark.network
@pytest.mark.parametrize(("version", "least"), [("0.36.0", 260), ("0.38.0", 300), ("0.42.1", 340)])
def test_a_version_is_read_whole(version: str, least: int, tmp_path: Path) -> None:
    """Every pipeline of a version has parameters, tasks and outputs, or stands in the data file with a reason."""
    fetch = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(tmp_path)]
    subprocess.run([*fetch, f"diffusers=={version}"], check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    facts = read_package("diffusers", tmp_path / "diffusers")
    lacking = {
        entry.name
        for entry in facts.pipelines
        if not (entry.tasks and entry.output_kind and entry.parameters and entry.outputs)
    }

    assert len(facts.pipelines) >= least
    assert len(facts.schedulers) >= 40
    assert set() == lacking - vocabulary().exceptions.keys()
    assert {} == facts.broken


def test_no_code_asks_for_the_version() -> None:
    """Nothing is decided by the version of diffusers: what is there is read, whatever it is called."""
    asking = [
        str(file.relative_to(SOURCE))
        for file in SOURCE.rglob("*.py")
        if "diffusers.__version__" in file.read_text(encoding="utf-8")
        or "is_diffusers_version" in file.read_text(encoding="utf-8")
    ]

    assert [] == asking
