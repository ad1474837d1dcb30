"""A model of the Hub is run from an empty cache, and again without a network."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from ldm_layout import save_single_file, tiny_sd
from local_hub import LocalHub, folder_files
from octabox import demo
from octabox.hub.cache_layout import CachedRepo
from octabox.hub.snapshots import find_snapshot

UNET = "unet/diffusion_pytorch_model.safetensors"


def octabox(folder: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own."""
    command = [sys.executable, "-m", "octabox", *words]
    env = {**os.environ, **environment}
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False, timeout=600)


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


@pytest.fixture
def single(local_hub: LocalHub, tmp_path: Path) -> Path:
    """Return a folder with a single file that was pulled, and with two configurations of it: by a Hub id, and by a folder."""
    models = tmp_path / "models"
    pipe = tiny_sd(clip=True)
    pipe.save_pretrained(models / "whole")
    save_single_file(pipe, tmp_path / "tiny.safetensors")
    weights = {"text_encoder", "unet", "vae"}
    files = folder_files(models / "whole")
    for name in weights:
        next((models / "whole" / name).glob("*.safetensors")).unlink()
    local_hub.add("org/whole", files)
    local_hub.add("org/file", {"tiny.safetensors": (tmp_path / "tiny.safetensors").read_bytes()})
    (models / "by-id.yaml").write_text("model: tiny.safetensors\nconfig: org/whole\n")
    (models / "by-folder.yaml").write_text("model: tiny.safetensors\nconfig: whole\n")
    pulled = octabox(tmp_path, "pull", "org/file", "--yes")
    assert 0 == pulled.returncode, pulled.stderr
    return tmp_path


@pytest.mark.slow
def test_a_single_file_is_run_without_a_network(local_hub: LocalHub, single: Path) -> None:
    """By configurations that are in the cache, or in a folder; its weights are only in the file."""
    online = octabox(single, "run", "by-id", "a red star", "--seed", "1", "--steps", "2", "-o", "online.png")
    local_hub.close()
    runs = [
        octabox(
            single, "run", name, "a red star", "--seed", "1", "--steps", "2", "-o", f"{name}.png", HF_HUB_OFFLINE="1"
        )
        for name in ("by-id", "by-folder")
    ]
    again = octabox(single, "pull", "org/file", "--yes", HF_HUB_OFFLINE="1")

    assert [0, 0, 0, 0] == [each.returncode for each in (online, *runs, again)], online.stderr + runs[0].stderr
    # The metadata in the files names the model.
    assert 1 == len({Image.open(single / f"{name}.png").tobytes() for name in ("online", "by-id", "by-folder")})
    assert [] == [name for name in local_hub.sent if name.startswith("org/whole/") and name.endswith(".safetensors")]
    assert "The copy in the cache is used" in again.stderr


@pytest.mark.slow
def test_what_a_single_file_lacks_without_a_network_is_said(local_hub: LocalHub, single: Path) -> None:
    """The repository of its configurations, one file of it, the file itself, and a component of its folder."""
    words = ("run", "by-id", "a red star", "--steps", "2")
    nothing = octabox(single, *words, HF_HUB_OFFLINE="1")
    assert 0 == octabox(single, *words, "-o", "first.png").returncode
    local_hub.close()
    repo = CachedRepo("org/whole")
    file = repo.snapshot(str(repo.commit())) / "unet/config.json"
    file.unlink()
    part = octabox(single, *words, HF_HUB_OFFLINE="1")
    (single / "models/whole/vae/config.json").unlink()
    folder = octabox(single, "run", "by-folder", "a red star", HF_HUB_OFFLINE="1")
    (single / "models/tiny.safetensors").unlink()
    missing = octabox(single, "run", "by-folder", "a red star", HF_HUB_OFFLINE="1")

    assert (5, 5) == (nothing.returncode, part.returncode)
    assert "org/whole is not in the cache" in nothing.stderr
    assert "it lacks unet/config.json" in part.stderr
    assert "vae is empty" in folder.stderr
    assert "tiny.safetensors" in missing.stderr
    for each in (nothing, part, folder, missing):
        assert "Traceback" not in each.stderr
        assert 0 < each.returncode < 100
