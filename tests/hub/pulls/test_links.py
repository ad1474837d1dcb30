"""The names of downloaded models: which ones are free, which is known before the download, and what they lead to."""

from __future__ import annotations

from pathlib import Path

import pytest

from local_hub import LocalHub
from octabox.errors import InvalidParameterError
from octabox.hub.pulls.links import ModelFolders, Registered, check_registration, register_model
from octabox.hub.pulls.needed import PullRequest
from octabox.hub.pulls.plan import make_plan
from octabox.hub.pulls.pull import pull

INDEX = b'{"_class_name": "X"}'


@pytest.fixture
def folders(local_hub: LocalHub, tmp_path: Path) -> ModelFolders:
    """Return the folders of a machine, and a Hub with a model, a component and files of the same name."""
    local_hub.add("org/pipe", {"model_index.json": INDEX})
    local_hub.add("org/vae", {"config.json": b"{}", "diffusion_pytorch_model.safetensors": b"0" * 9})
    local_hub.add("org/gg", {"high/model.gguf": b"high", "low/model.gguf": b"low"})
    local_hub.add("org/other", {"model.gguf": b"other"})
    (tmp_path / "models" / "loras").mkdir(parents=True)
    return ModelFolders(tmp_path / "models", tmp_path / "models" / "loras", tmp_path / "models" / "embeddings")


async def register(folders: ModelFolders, repo: str, name: str | None = None, file: str | None = None) -> Registered:
    """Download a model, and make it available under a name."""
    plan = make_plan(PullRequest(repo, file=file))
    check_registration(plan, folders, name)
    await pull(plan)
    found = register_model(plan, folders, name)
    assert found is not None
    return found


def refusal(folders: ModelFolders, repo: str, name: str | None = None, file: str | None = None) -> str:
    """Return why a model cannot have a name, which is known before its download."""
    with pytest.raises(InvalidParameterError) as caught:
        check_registration(make_plan(PullRequest(repo, file=file)), folders, name)
    return f"{caught.value.message} {caught.value.hint}"


async def test_names_of_each_kind(folders: ModelFolders) -> None:
    """A model has a configuration, a file a link; the same again changes nothing."""
    for _ in range(2):
        pipe, file = await register(folders, "org/pipe", "mine"), await register(folders, "org/other")

        assert ("mine", folders.models / "mine.yaml") == (pipe.name, pipe.path)
        assert ("model", b"other") == (file.name, (folders.models / "model.gguf").read_bytes())


def test_a_component_has_no_name(folders: ModelFolders) -> None:
    """A configuration of it could not be loaded; without a name it is downloaded."""
    assert "components: {NAME: {model: org/vae}}" in refusal(folders, "org/vae", "vae")
    check_registration(make_plan(PullRequest("org/vae")), folders)


@pytest.mark.parametrize("source", ["org/pipe", "org/other"])
@pytest.mark.parametrize("taken", ["turbo/model_index.json", "turbo.safetensors", "turbo.yml", "turbo.yaml/x"])
def test_the_name_of_another_model(folders: ModelFolders, source: str, taken: str) -> None:
    """Whether that is a folder, a file or a configuration; a folder in the place of a configuration is none."""
    place = folders.models / taken
    place.parent.mkdir(exist_ok=True)
    place.write_bytes(INDEX)
    if taken == "turbo.yaml/x" and source == "org/other":
        check_registration(make_plan(PullRequest(source)), folders, "turbo")
    else:
        assert f"{folders.models / Path(taken).parts[0]} exists already" in refusal(folders, source, "turbo")


def test_a_configuration_may_be_there_before_its_file(folders: ModelFolders) -> None:
    """It refers to the file, and has its name."""
    (folders.models / "turbo.yaml").write_text("model: turbo.gguf\n")

    check_registration(make_plan(PullRequest("org/other")), folders, "turbo")


async def test_files_of_the_same_name_in_a_repository(folders: ModelFolders, local_hub: LocalHub) -> None:
    """A link is replaced by that to another commit of its file, and by no other file."""
    link = (await register(folders, "org/gg", file="high/model.gguf")).path

    assert "exists already" in refusal(folders, "org/gg", file="low/model.gguf")
    assert "exists already" in refusal(folders, "org/other")
    local_hub.repos["org/gg"].files["high/model.gguf"] = b"higher"
    await register(folders, "org/gg", file="high/model.gguf")
    assert b"higher" == link.read_bytes()
    assert "low" == (await register(folders, "org/gg", "low", "low/model.gguf")).name
    assert b"low" == (folders.models / "low.gguf").read_bytes()
