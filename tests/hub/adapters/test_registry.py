"""LoRAs and embeddings in their folders: which there are, and what a name means."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
import torch

from octabox.errors import AdapterNotFoundError
from octabox.hub.adapters.registry import AdapterRegistry
from trained import EMBEDDINGS, FRAME, HEARTS, LORAS


def test_what_is_there() -> None:
    """By name, each with what is known of it."""
    registry = AdapterRegistry(LORAS, EMBEDDINGS)

    assert ["frame", "hearts"] == [each.name for each in registry.loras()]
    assert ["plumstar", "ruby"] == [each.name for each in registry.embeddings()]


def test_what_is_no_file_is_listed_with_its_problem(tmp_path: Path) -> None:
    """And cannot be requested; nothing waits for the writer of a FIFO."""
    shutil.copy(HEARTS, tmp_path / "hearts.safetensors")
    os.mkfifo(tmp_path / "fifo.safetensors")
    (tmp_path / "nowhere.pt").symlink_to("missing")
    registry = AdapterRegistry(tmp_path, None)

    fifo, hearts, nowhere = registry.loras()
    assert fifo.problem.endswith("fifo.safetensors cannot be read: it is a FIFO, not a file.")
    assert nowhere.problem.endswith("nowhere.pt cannot be read: No such file or directory.")
    assert not hearts.problem
    with pytest.raises(AdapterNotFoundError, match="There is no LoRA 'fifo'"):
        registry.source("fifo")


def test_folders_in_folders(tmp_path: Path) -> None:
    """A file in a folder is called by both; a folder as diffusers saves it has its own name; hidden ones are none."""
    for place in (
        "a/style.safetensors",
        "b/style.safetensors",
        "b/other.safetensors",
        "c/pytorch_lora_weights.safetensors",
    ):
        (tmp_path / place).parent.mkdir(exist_ok=True)
        shutil.copy(HEARTS, tmp_path / place)
    (tmp_path / ".hidden.safetensors").touch()
    (tmp_path / "notes.txt").touch()
    registry = AdapterRegistry(tmp_path, None)

    assert ["a/style", "b/other", "b/style", "c"] == [each.name for each in registry.loras()]
    assert str(tmp_path / "b" / "other.safetensors") == registry.source("other")
    assert str(tmp_path / "a" / "style.safetensors") == registry.source("a/style.safetensors")
    assert str(tmp_path / "c" / "pytorch_lora_weights.safetensors") == registry.source("c")
    with pytest.raises(AdapterNotFoundError, match="a/style or b/style"):
        registry.source("style")


def test_a_change_is_seen(tmp_path: Path) -> None:
    """A file that is new, another or gone is so at the next look."""
    registry, file = AdapterRegistry(tmp_path, None), tmp_path / "x.safetensors"
    assert [] == registry.loras()
    shutil.copy(HEARTS, file)
    assert [("text_encoder", "unet")] == [each.parts for each in registry.loras()]
    shutil.copy(FRAME, file)
    assert [("unet",)] == [each.parts for each in registry.loras()]
    file.unlink()
    assert [] == registry.loras()


def test_no_folder_holds_none(tmp_path: Path) -> None:
    """Neither one that is not given nor one that is not there."""
    for registry in (AdapterRegistry(None, None), AdapterRegistry(tmp_path / "no", tmp_path / "no")):
        assert [] == [*registry.loras(), *registry.embeddings()]
        with pytest.raises(AdapterNotFoundError):
            registry.source("x")


def test_words_of_embeddings(tmp_path: Path) -> None:
    """The token in the file, and the names of the file and of a folder for it alone; each belongs to one file."""
    for place, token in (("a/learned_embeds", "<gem>"), ("b/one", "<gem>"), ("b/two", "emb_params"), ("top", "*")):
        (tmp_path / place).parent.mkdir(exist_ok=True)
        torch.save({token: torch.zeros(1, 4)}, (tmp_path / place).with_suffix(".bin"))
    found = AdapterRegistry(None, tmp_path).embeddings()

    assert {"a": ("<gem>", "a", "learned_embeds"), "b/one": ("one",), "b/two": ("two",), "top": ("top",)} == {
        each.name: each.words for each in found
    }
    assert [("<gem>",)] == [each.shadowed for each in found if each.shadowed]
