"""Folders that killed servers have left."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from octabox.frontends.http.results_folder import PREFIX, ResultsFolder, remove_abandoned

#: Makes a folder with a result, reports it, and is killed.
KILLED = """
import os, signal
from octabox.frontends.http.results_folder import ResultsFolder
folder = ResultsFolder()
(folder.path / "image.png").write_bytes(b"x")
print(folder.path, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_server_left_is_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the folder of the process that has ended goes: not that of a server that runs, nor what is another's."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    command = [sys.executable, "-c", KILLED]
    killed = Path(subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip())
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    running = ResultsFolder()
    (running.path / "image.png").write_bytes(b"x")
    foreign, file = tmp_path / f"{PREFIX}notes", tmp_path / f"{PREFIX}file"
    foreign.mkdir()
    (foreign / "text").touch()
    file.touch()
    (tmp_path / f"{PREFIX}link").symlink_to(foreign)
    there = killed.is_dir()
    remove_abandoned()

    assert there
    assert not killed.exists()
    assert (running.path / "image.png").exists()
    assert (foreign / "text").exists()
    assert file.exists()
    running.remove()
    assert not running.path.exists()


def test_a_folder_that_is_removed_leaves_no_descriptor() -> None:
    """A server that begins again and again opens no file each time."""
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(5):
        ResultsFolder().remove()

    assert before == len(list(Path("/proc/self/fd").iterdir()))
