"""Folders that killed processes have left."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from octabox.security.temporary_folder import PREFIX, TemporaryFolder, remove_abandoned

#: Reports a folder, and is killed.
KILL = """
import os, signal
from pathlib import Path
def killed_with(path):
    print(path, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""

#: A folder in use when its process is killed: of results, of a video, and of the configurations of a model family.
IN_USE = {
    "results": """
from octabox.security.temporary_folder import TemporaryFolder
folder = TemporaryFolder()
(folder.path / "image.png").write_bytes(b"x")
killed_with(folder.path)
""",
    "video": """
from PIL import Image
from octabox.media import video
from octabox.types import OutputFormat
video._write = lambda container, *_: killed_with(Path(container.name).parent)
video._in_container(video.Video((Image.new("RGB", (16, 16)),), 8.0), "mp4", None, {})
""",
    "bundle": """
from octabox.hub.checkpoints.bundles import bundle_folder, bundle_names
with bundle_folder(bundle_names()[0], "AnyPipeline") as path:
    killed_with(path)
""",
}


@pytest.mark.parametrize("use", IN_USE)
def test_what_a_killed_process_left_is_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, use: str) -> None:
    """Only the folder of the process that has ended goes: not that of a server that runs, nor what is another's."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    command = [sys.executable, "-c", KILL + IN_USE[use]]
    killed = Path(subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip())
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    running = TemporaryFolder()
    (running.path / "image.png").write_bytes(b"x")
    foreign, file = tmp_path / f"{PREFIX}notes", tmp_path / f"{PREFIX}file"
    foreign.mkdir()
    (foreign / "text").touch()
    file.touch()
    (tmp_path / f"{PREFIX}link").symlink_to(foreign)
    there = killed.parent == tmp_path and killed.is_dir()
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
        TemporaryFolder().remove()

    assert before == len(list(Path("/proc/self/fd").iterdir()))
