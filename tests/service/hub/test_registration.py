"""The names of downloads are free among all models, which is known before the download."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

from local_hub import LocalHub
from octabox.errors import DownloadError, InvalidParameterError
from octabox.hub.pulls.links import ModelFolders
from octabox.hub.pulls.needed import PullRequest
from octabox.hub.pulls.plan import make_plan
from octabox.hub.pulls.pull import pull
from octabox.hub.pulls.urls import UrlRequest
from octabox.service.hub.pulls import PullJob, Pulls
from octabox.service.hub.registration import check_plan, check_url, register_download, register_plan

INDEX = b'{"_class_name": "X"}'
CONTENT = b"0" * 9
URL = UrlRequest("https://files.example/style.safetensors", hashlib.sha256(CONTENT).hexdigest())


@pytest.fixture
def folders(local_hub: LocalHub, tmp_path: Path) -> ModelFolders:
    """Return the folders of a machine with two configured models, and a Hub with a model and a file."""
    local_hub.add("org/pipe", {"model_index.json": INDEX})
    local_hub.add("org/file", {"model.gguf": b"x"})
    folders = ModelFolders(tmp_path / "models", tmp_path / "loras", tmp_path / "embeddings")
    folders.models.mkdir()
    (folders.models / "a.yaml").write_text("name: turbo\naliases: [fast]\nmodel: org/pipe\n")
    (folders.models / "list.yaml").write_text("- name: first\n  model: org/pipe\n- name: last\n  alias: first\n")
    return folders


def downloaded(folders: ModelFolders) -> Path:
    """Return the folder of files that were downloaded by URL."""
    return folders.models.parent / "files"


@pytest.mark.parametrize("source", ["org/pipe", "org/file"])
@pytest.mark.parametrize(
    ("name", "where"),
    [("turbo", "a.yaml"), ("fast", "a.yaml"), ("first", "list.yaml"), ("last", "list.yaml"), ("demo", "")],
)
def test_the_name_of_another_configuration_is_refused(
    folders: ModelFolders, source: str, name: str, where: str
) -> None:
    """Whether it is the name of a model or another name, and whatever the name of its file is."""
    with pytest.raises(InvalidParameterError, match=f"The name '{name}' is used by another model.*{where}") as caught:
        check_plan(make_plan(PullRequest(source)), folders, name)

    assert "--as" in caught.value.hint


async def test_a_background_job_refuses_it_before_the_download(folders: ModelFolders, local_hub: LocalHub) -> None:
    """Over HTTP as on the command line: nothing is downloaded."""
    pulls = Pulls(folders)
    job = await _ended(pulls, pulls.start(PullRequest("org/file"), "turbo"))

    assert "failed" == job.status
    assert "used by another model" in str(job.error)
    assert [] == local_hub.downloads()


async def test_the_same_name_again_is_accepted(folders: ModelFolders) -> None:
    """A configuration, a link, and a configuration that refers to the link are those of the model itself."""
    (folders.models / "mine.yaml").write_text("name: mine\nmodel: mine.gguf\n")
    for _ in range(2):
        for source, name in (("org/pipe", "new"), ("org/file", None), ("org/file", "mine")):
            plan = make_plan(PullRequest(source))
            check_plan(plan, folders, name)
            await pull(plan)
            found = register_plan(plan, folders, name)
            assert found is not None


@pytest.mark.parametrize("name", ["turbo", "fast"])
async def test_the_name_of_a_url_is_checked_before_the_download(folders: ModelFolders, name: str) -> None:
    """What the file is, only its content shows: it is refused if the name is free for nothing that it can be."""
    model = replace(URL, url="https://files.example/model.gguf")
    with pytest.raises(InvalidParameterError, match="is used by another model"):
        check_url(model, downloaded(folders), folders, name)
    for folder in (folders.loras, folders.embeddings):
        folder.mkdir()
        check_url(URL, downloaded(folders), folders, name)
        (folder / f"{name}.safetensors").write_bytes(b"")
    with pytest.raises(InvalidParameterError, match="is used by another model"):
        check_url(URL, downloaded(folders), folders, name)

    pulls = Pulls(folders, downloaded(folders))
    assert "is used by another model" in str((await _ended(pulls, pulls.start(URL, name))).error)


def test_a_lora_of_a_url_may_have_the_name_of_a_model(folders: ModelFolders) -> None:
    """As one of the Hub: they are in other folders, and requests name them in other fields."""
    (folders.models / "style.safetensors").write_bytes(b"")
    content = save({f"unet.a.lora_{each}.weight": np.zeros((4, 4), "float32") for each in "AB"})
    request = replace(URL, sha256=hashlib.sha256(content).hexdigest())
    check_url(request, downloaded(folders), folders)
    file = request.place(downloaded(folders))
    file.parent.mkdir(parents=True)
    file.write_bytes(content)
    check_url(request, downloaded(folders), folders)

    assert folders.loras / "style.safetensors" == register_download(file, folders).path


def test_the_file_of_a_url_that_is_there_is_checked_by_its_kind(folders: ModelFolders) -> None:
    """A LoRA of the same name is no obstacle to a checkpoint, and the link to it is accepted again."""
    file = URL.place(downloaded(folders))
    file.parent.mkdir(parents=True)
    file.write_bytes(CONTENT)
    folders.loras.mkdir()
    (folders.loras / "style.safetensors").write_bytes(b"")
    for _ in range(2):
        check_url(URL, downloaded(folders), folders)
        assert folders.models / "style.safetensors" == register_download(file, folders).path
    with pytest.raises(InvalidParameterError, match="is used by another model"):
        register_download(file, folders, "fast")


def test_a_folder_that_cannot_be_written_is_refused_before_the_download(folders: ModelFolders, tmp_path: Path) -> None:
    """For a configuration, for a link and for a file by URL."""
    (tmp_path / "file").write_bytes(b"")
    closed = ModelFolders(tmp_path / "file" / "models", tmp_path / "file" / "loras", tmp_path / "file" / "embeddings")
    for source, name in (("org/pipe", "new"), ("org/file", None)):
        with pytest.raises(DownloadError, match="cannot be written"):
            check_plan(make_plan(PullRequest(source)), closed, name)
    with pytest.raises(DownloadError, match="Nothing was downloaded"):
        check_url(URL, tmp_path / "files", closed)


async def _ended(pulls: Pulls, job: PullJob) -> PullJob:
    """Return a download at its end."""

    async def wait() -> None:
        async for each in pulls.follow(job):
            if each.ended is not None:
                break

    await asyncio.wait_for(wait(), 20)
    return job
