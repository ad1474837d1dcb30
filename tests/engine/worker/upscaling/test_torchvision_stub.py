"""Spandrel is imported with torchvision, without it, and with a broken one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from octabox.engine.worker.upscaling.torchvision_stub import ModuleStub
from octabox.errors import MissingDependencyError

pytestmark = pytest.mark.slow

CODE = """
import sys
from octabox.engine.worker.upscaling.torchvision_stub import torchvision_or_stub
before = set(sys.modules)
with torchvision_or_stub():
    import spandrel
left = sorted(name for name in set(sys.modules) - before if name.startswith("torchvision"))
normalize = sys.modules["spandrel.architectures.RestoreFormer"].tv_normalize
print(left, getattr(normalize, "__module__", ""), hasattr(spandrel, "ModelLoader"))
"""

#: Installations of torchvision by file, with the remaining modules and the origin of its function.
INSTALLED = {
    "none": ({}, "[] octabox.engine.worker.upscaling.torchvision_stub True"),
    "broken": (
        {"__init__.py": "raise RuntimeError('operator torchvision::nms does not exist')"},
        "[] octabox.engine.worker.upscaling.torchvision_stub True",
    ),
    "whole": (
        {
            "__init__.py": "",
            "transforms/__init__.py": "",
            "transforms/functional.py": "def normalize(): ...\ndef rotate(): ...\nInterpolationMode = None",
        },
        "['torchvision', 'torchvision.transforms', 'torchvision.transforms.functional'] torchvision.transforms.functional True",
    ),
}


@pytest.mark.parametrize("installed", INSTALLED)
def test_torchvision_may_be_in_any_state(installed: str, tmp_path: Path) -> None:
    """A working torchvision is used; else a stub is, which is removed afterwards."""
    files, expected = INSTALLED[installed]
    for name, text in files.items():
        path = tmp_path / "torchvision" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    # Before all others, so that one that is really installed is not seen.
    hide = "import sys; sys.modules['torchvision'] = None\n" if installed == "none" else ""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run([sys.executable, "-c", hide + CODE], env=env, capture_output=True, text=True, check=True)

    assert expected == done.stdout.strip()


def test_the_stub_raises() -> None:
    """A call of a function of the stub names the missing package."""
    with pytest.raises(MissingDependencyError, match=r"torchvision\.transforms\.functional\.rotate is needed"):
        ModuleStub("torchvision.transforms.functional").rotate()
    assert not hasattr(ModuleStub("torchvision"), "__file__")
