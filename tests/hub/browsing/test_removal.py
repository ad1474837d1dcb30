"""The removal of downloaded files by their names: what else has their content, or is downloaded beside them, stays."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import constants
from huggingface_hub.utils import WeakFileLock  # type: ignore[attr-defined] # imported lazily there
from safetensors.numpy import save

from octabox.errors import InvalidParameterError, ModelNotFoundError
from octabox.hub.browsing.removal import plan_any_removal, remove
from octabox.hub.cache_layout import CachedRepo
from octabox.hub.pulls.links import ModelFolders, register_file

LORA = save({"unet.a.lora_A.weight": np.zeros((4, 8), "float32"), "unet.a.lora_B.weight": np.zeros((8, 4), "float32")})


class Machine:
    """Folders of models, and files that were downloaded by URL.

    Args:
        root: Where they are.
    """

    def __init__(self, root: Path) -> None:
        self.folders = ModelFolders(root / "models", root / "loras", root / "embeddings")
        self.urls = root / "files"

    def download(self, file: str, *names: str) -> Path:
        """Add a file with names, as a pull by URL does."""
        path = self.urls / ("0" * 64) / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(LORA)
        path.with_name(f".{file}.lock").touch()
        for name in names:
            register_file(path, self.folders, name)
        return path

    def remove(self, name: str) -> int:
        """Remove a model, and return the bytes that were freed."""
        removal = plan_any_removal(name, self.folders, self.urls)
        remove(removal)
        return removal.freed

    @property
    def names(self) -> dict[str, bool]:
        """The names of the LoRAs, and whether each can be read."""
        return {each.stem: each.exists() for each in self.folders.loras.rglob("*.safetensors")}


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Return folders, and an empty cache of the Hub."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return Machine(tmp_path)


def test_a_file_goes_with_its_last_name(machine: Machine) -> None:
    """Until then only the link goes, which frees nothing."""
    file = machine.download("style.safetensors", "a", "b")

    assert 0 == machine.remove("a")
    assert {"b": True} == machine.names
    assert len(LORA) == machine.remove("b")
    assert {} == machine.names
    assert not file.parent.exists()


def test_files_of_the_same_content_are_removed_one_by_one(machine: Machine) -> None:
    """Each has its own name in the folder of the checksum."""
    first, second = machine.download("one.safetensors", "a"), machine.download("two.safetensors", "b")

    machine.remove("a")
    assert (False, True) == (first.exists(), second.exists())
    assert {"b": True} == machine.names


def test_a_download_beside_it_goes_on(machine: Machine) -> None:
    """What was received of another file stays, with its lock."""
    file = machine.download("one.safetensors", "a")
    hidden = [file.with_name(f".two.safetensors.{each}") for each in ("lock", "partial")]
    for each in hidden:
        each.touch()

    machine.remove("a")
    assert hidden == sorted(file.parent.iterdir())


def test_what_is_being_downloaded_is_in_use(machine: Machine) -> None:
    """Its link stays as well."""
    file = machine.download("one.safetensors", "a")
    with WeakFileLock(file.with_name(".one.safetensors.lock")), pytest.raises(InvalidParameterError, match="in use"):
        machine.remove("a")

    assert {"a": True} == machine.names


@pytest.mark.parametrize("name", ["ink", "style/ink", "style/of/ink", "a b/c"])
def test_a_broken_link_is_removed(machine: Machine, name: str) -> None:
    """Also one whose name has the form of a Hub id."""
    link = machine.folders.loras / f"{name}.safetensors"
    link.parent.mkdir(parents=True)
    link.symlink_to(machine.urls / "nothing.safetensors")

    machine.remove(name)
    assert not os.path.lexists(link)


@pytest.mark.parametrize(
    "name", ["org--shapes", "org/shapes/x", "../hub/models--org--shapes", "x" * 300, "", "a/b" * 90]
)
def test_the_folder_of_a_repository_is_no_name(machine: Machine, name: str) -> None:
    """A repository in the cache is removed by its id alone, also one whose download was interrupted."""
    folder = CachedRepo("org/shapes").folder
    (folder / "blobs").mkdir(parents=True)
    (folder.parent / "models--org--shapes--x").mkdir()

    with pytest.raises(ModelNotFoundError):
        machine.remove(name)
    assert folder.is_dir()
    machine.remove("org/shapes")
    assert not folder.exists()
