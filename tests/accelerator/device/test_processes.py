"""The pretended accelerator over several processes: who has initialized it, who must not use it, and what memory is left."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from accelerator.environment import accelerator_environment


def output(code: str, folder: Path | None = None, variables: dict[str, str] | None = None, **settings: Any) -> str:
    """Return what a program prints in a new process that has the device."""
    environment = {**os.environ, **accelerator_environment(folder, **settings), **(variables or {})}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert not done.returncode, done.stderr
    return done.stdout.strip()


def events(folder: Path) -> list[str]:
    """Return what has happened in processes that share a folder."""
    file = folder / "events.jsonl"
    return (
        [json.loads(line)["event"] for line in file.read_text(encoding="utf-8").splitlines()] if file.exists() else []
    )


def test_without_the_variable_there_is_no_device() -> None:
    """The folder on the path alone changes nothing."""
    assert "None" == output(
        "import torch; print(torch.accelerator.current_accelerator())", variables={"PRETENDED_ACCELERATOR": ""}
    )


FORK = """
import os, torch
{before}
pid = os.fork()
if not pid:
    try:
        torch.ones(1, device="fake")
        print("well", flush=True)
    except RuntimeError as error:
        print(error, flush=True)
    os._exit(0)
os.waitpid(pid, 0)
"""


@pytest.mark.parametrize(
    "use", ["torch.ones(1, device='fake')", "torch.accelerator.is_available()", "torch.fake.mem_get_info()"]
)
def test_a_fork_after_use_is_bad(use: str, tmp_path: Path) -> None:
    """As with CUDA, even counting devices initializes them."""
    assert "Cannot re-initialize CUDA in forked subprocess" in output(FORK.format(before=use), tmp_path)
    assert ["initialized", "bad fork"] == events(tmp_path)


@pytest.mark.parametrize("use", ["", "torch.accelerator.current_accelerator()"])
def test_a_fork_before_use_is_good(use: str, tmp_path: Path) -> None:
    """Importing torch or querying the device type initializes nothing."""
    assert "well" == output(FORK.format(before=use), tmp_path)
    assert ["initialized"] == events(tmp_path)


def test_devices_can_be_counted_by_nvml() -> None:
    """Where that is there and asked for, counting initializes nothing."""
    code, asked = FORK.format(before="torch.accelerator.device_count()"), {"PYTORCH_NVML_BASED_CUDA_CHECK": "1"}

    assert "well" == output(code, variables=asked)
    assert "Cannot re-initialize" in output(code, variables=asked, nvml=False)


def test_an_import_may_initialize() -> None:
    """As that of bitsandbytes does; then every fork is bad."""
    assert "Cannot re-initialize" in output(FORK.format(before=""), initialize_at_import=True)


def test_settings_may_come_late(tmp_path: Path) -> None:
    """A process reads the settings of the shared folder when it first uses the device."""
    (tmp_path / "settings.json").write_text(json.dumps({"fail": "out of memory", "devices": 2}), encoding="utf-8")
    code = "import torch\ntry: torch.ones(1, device='fake')\nexcept torch.OutOfMemoryError: print('out of memory')"

    assert "out of memory" == output(code, tmp_path)
    assert ["initialized", "out of memory"] == events(tmp_path)


def test_processes_share_memory(tmp_path: Path) -> None:
    """What one holds is missing in the other, until it ends."""
    hold = "import sys, torch; held = torch.ones(150, device='fake'); print('holds', flush=True); sys.stdin.read()"
    look = "import torch; print(torch.accelerator.get_memory_info()[0])"
    environment = {**os.environ, **accelerator_environment(tmp_path, memory=1000)}
    with subprocess.Popen(
        [sys.executable, "-c", hold], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert "holds\n" == holder.stdout.readline()
        assert "400" == output(look, tmp_path, memory=1000)
        holder.kill()
    assert "1000" == output(look, tmp_path, memory=1000)


def test_what_has_ended_holds_nothing_while_another_looks(tmp_path: Path) -> None:
    """Its memory is free for a process that asks at the moment in which a third one asks too."""
    output("import torch; kept = torch.ones(1_000_000, device='fake')", tmp_path, memory=10_000_000)
    (held,) = (tmp_path / "held").iterdir()
    with held.open("rb") as file:
        fcntl.lockf(file, fcntl.LOCK_SH)
        free = output("import torch; print(torch.fake.mem_get_info()[0])", tmp_path, memory=10_000_000)

    assert "10000000" == free
