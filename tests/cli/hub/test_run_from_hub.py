"""A model of the Hub is run from an empty cache, and again without a network."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from local_hub import LocalHub, folder_files
from octabox import demo
from octabox.hub.snapshots import find_snapshot

UNET = "unet/diffusion_pytorch_model.safetensors"


def octabox(folder: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own."""
    command = [sys.executable, "-m", "octabox", *words]
    env = {**os.environ, **environment}
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False, timeout=200)


@pytest.mark.slow
def test_a_model_is_run_from_the_hub_and_from_the_cache(local_hub: LocalHub, tmp_path: Path) -> None:
    """First with a plan and a download, then offline; of half a model, the missing file is named."""
    local_hub.add("org/shapes", {**folder_files(demo.FOLDER), "unet/diffusion_pytorch_model.bin": b"0" * 99})
    words = ("run", "org/shapes", "a red star", "--steps", "2", "-o")

    first = octabox(tmp_path, *words, "first.png")
    local_hub.close()
    second = octabox(tmp_path, *words, "second.png", HF_HUB_OFFLINE="1")
    snapshot = find_snapshot("org/shapes")
    assert snapshot is not None
    (snapshot / UNET).unlink()
    third = octabox(tmp_path, *words, "third.png", HF_HUB_OFFLINE="1")

    assert (0, 0, 5) == (first.returncode, second.returncode, third.returncode), first.stderr + second.stderr
    assert "To download: 13.2 MB" in first.stderr
    assert "99 B are not needed" in first.stderr
    assert "To download" not in second.stderr
    assert {"first.png", "second.png"} == {each.name for each in tmp_path.glob("*.png")}
    assert f"it lacks {UNET}" in third.stderr
    assert 0 == local_hub.sent["org/shapes/unet/diffusion_pytorch_model.bin"]
