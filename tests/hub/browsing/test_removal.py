"""The removal of downloaded files by their names: what else has their content, or is downloaded beside them, stays."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from huggingface_hub import constants
from huggingface_hub.utils import WeakFileLock  # type: ignore[attr-defined] # imported lazily there
from safetensors.numpy import save

from local_hub import LocalHub
from octabox.cli.main import cli
from octabox.errors import ForbiddenPathError, InvalidParameterError, ModelNotFoundError
from octabox.hub.browsing import cached_models as cached
from octabox.hub.browsing.removal import plan_any_removal, plan_removals, remove
from octabox.hub.cache_layout import CachedRepo, RemoteFile
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

    def remove_all(self, *names: str) -> list[int]:
        """Remove several models together, and return the bytes that each removal freed."""
        removals = plan_removals(names, self.folders, self.urls)
        for each in removals:
            remove(each)
        return [each.freed for each in removals]

    def cache(self, repo: str, *files: str) -> None:
        """Add a repository to the cache, whose files have the names of their stems; all have one commit, as copies have."""
        cached, commit = CachedRepo(repo), "a" * 40
        cached.prepare(commit)
        cached.set_revision(None, commit)
        for file in files:
            content = save({f"unet.{file}.lora_A.weight": np.zeros((4, 8), "float32"),
                            f"unet.{file}.lora_B.weight": np.zeros((8, 4), "float32")})  # fmt: skip
            remote = RemoteFile(file, len(content), hashlib.sha256(content).hexdigest())
            cached.blob(remote).write_bytes(content)
            cached.link(remote, commit)
            register_file(cached.snapshot(commit) / file, self.folders)

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


@pytest.mark.parametrize("names", [("a", "b"), ("b", "a"), ("a", "b", "a"), ("a", "a.safetensors", "b")])
def test_all_names_of_a_file_together(machine: Machine, names: tuple[str, ...]) -> None:
    """The file is freed once, whatever their order is; one that keeps a name stays."""
    file, other = machine.download("style.safetensors", "a", "b"), machine.download("other.safetensors", "c", "d")

    assert len(LORA) == sum(machine.remove_all(*names, "c"))
    assert {"d": True} == machine.names
    assert (False, True) == (file.exists(), other.exists())


@pytest.mark.parametrize(
    ("names", "left"),
    [
        (("org/inks", "blue"), set()),
        (("blue", "org/inks"), set()),
        (("blue", "red"), set()),
        (("org/inks", f"org/inks@{'a' * 40}"), set()),
        ((f"org/inks@{'a' * 40}",), set()),
        (("blue", "blue.safetensors"), {"red"}),
        (("org/ink", "black"), {"blue", "red"}),
        (("black", "org/ink"), {"blue", "red"}),
    ],
)
def test_a_repository_and_its_files_together(machine: Machine, names: tuple[str, ...], left: set[str]) -> None:
    """Nothing is deleted or counted twice, whatever their order is."""
    machine.cache("org/inks", "blue.safetensors", "red.safetensors")
    machine.cache("org/ink", "black.safetensors")
    before = _size(Path(constants.HF_HUB_CACHE))

    freed = sum(machine.remove_all(*names))

    assert before - _size(Path(constants.HF_HUB_CACHE)) == freed
    assert left <= {*machine.names}
    assert CachedRepo("org/ink").folder.is_dir() != ("org/ink" in names)
    assert all(machine.names[name] for name in left)


def _size(folder: Path) -> int:
    """Return the bytes of the content of all files in a cache."""
    return sum(each.stat().st_size for each in folder.glob("*/blobs/*"))


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


def test_a_name_of_a_commit_goes_alone(machine: Machine) -> None:
    """As long as a branch or another tag has the same commit, its files and links stay."""
    machine.cache("org/ink", "black.safetensors")
    cached = CachedRepo("org/ink")
    cached.set_revision("v1.0", "a" * 40)
    planned = plan_any_removal("org/ink@v1.0", machine.folders, machine.urls)

    assert (("main",), (), 0) == (planned.kept, planned.commits, planned.freed)
    assert 0 == machine.remove("org/ink@v1.0")
    assert (None, "a" * 40) == (cached.commit("v1.0"), cached.commit())
    assert {"black": True} == machine.names
    assert 0 < machine.remove("org/ink@main")
    assert not cached.snapshot("a" * 40).exists()


@pytest.mark.parametrize("names", [("main", "v1.0"), ("v1.0", "main")])
def test_all_names_of_a_commit_together(machine: Machine, names: tuple[str, str]) -> None:
    """The last one frees its files."""
    machine.cache("org/ink", "black.safetensors")
    CachedRepo("org/ink").set_revision("v1.0", "a" * 40)

    first, last = machine.remove_all(*(f"org/ink@{each}" for each in names))
    assert 0 == first < last
    assert {} == machine.names


def test_a_lock_that_cannot_be_written(machine: Machine) -> None:
    """The model is not in use: the error names the path."""
    machine.cache("org/ink", "black.safetensors")
    locks = Path(constants.HF_HUB_CACHE) / ".locks"
    shutil.rmtree(locks)
    locks.write_bytes(b"not a folder")

    with pytest.raises(ForbiddenPathError, match=r"org/ink cannot be removed: .*\.locks"):
        machine.remove("org/ink")
    assert {"black": True} == machine.names


@pytest.mark.parametrize("name", ["org/inks", "org/inks@old", "blue"])
def test_what_cannot_be_deleted(machine: Machine, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """A model, a revision or a file without permission is an error with its path, also where huggingface_hub only logs it."""
    machine.cache("org/inks", "blue.safetensors", "red.safetensors")
    shutil.copytree(CachedRepo("org/inks").snapshot("a" * 40), CachedRepo("org/inks").snapshot("b" * 40))
    CachedRepo("org/inks").set_revision("old", "b" * 40)

    def refuse(path: Any, *_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", refuse)
        patch.setattr(os, "remove", refuse)
        with pytest.raises(ForbiddenPathError, match=r"cannot be removed: .*models--org--inks.*Permission denied"):
            machine.remove(name)
    machine.remove("org/inks")
    assert not CachedRepo("org/inks").folder.exists()


@pytest.mark.parametrize("words", [("models",), ("rm", "org/model", "--yes")])
def test_a_cache_that_cannot_be_read_is_named(
    local_hub: LocalHub, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    """By the commands that list what is there."""

    def refuse(_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", "/closed/hub")

    monkeypatch.setattr(cached, "scan_cache_dir", refuse)
    error = CliRunner().invoke(cli, [*words]).exception

    assert isinstance(error, ForbiddenPathError), error
    assert "The cache cannot be read: /closed/hub: Permission denied." == error.message
