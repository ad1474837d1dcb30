"""Deciding which class is meant."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from octabox.catalog.loading import get_available_tasks
from octabox.catalog.pipelines import Catalog
from octabox.catalog.resolution import pipeline_from_index, resolve_pipeline_name
from octabox.errors import IncompatibleWeightsError, PipelineNotFoundError, TaskNotFoundError
from octabox.hub import repository


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Return the folder of a model of which only the index is there."""
    (tmp_path / "model_index.json").write_text('{"_class_name": "StableDiffusionXLPipeline"}', encoding="utf-8")
    return tmp_path


@pytest.mark.usefixtures("catalog")
class TestNames:
    """Resolution by name, task and family."""

    @pytest.mark.parametrize(
        ("given", "name"),
        [
            ({"class_name": "FluxPipeline"}, "FluxPipeline"),
            ({"class_name": "AutoPipelineForText2Image"}, "AutoPipelineForText2Image"),
            ({"class_name": "FluxPipeline", "task": "inpaint"}, "FluxPipeline"),
            ({"task": "text-to-image"}, "AutoPipelineForText2Image"),
            ({"task": "inpaint"}, "AutoPipelineForInpainting"),
            ({"task": "txt2vid"}, "WanPipeline"),
            ({"task": "stable-diffusion"}, "StableDiffusionPipeline"),
            ({"task": "qwen-image"}, "QwenImagePipeline"),
            ({"task": "flux-control-net-inpaint"}, "FluxControlNetInpaintPipeline"),
            ({"task": "controlnet"}, "StableDiffusionControlNetPipeline"),
            ({"task": "control_net"}, "StableDiffusionControlNetPipeline"),
            ({"task": "adapter"}, "StableDiffusionAdapterPipeline"),
        ],
    )
    def test_what_is_given_decides(self, given: dict[str, Any], name: str) -> None:
        """A class comes before a task; a task alone means diffusers' own choosing class; a family means its plain class.

        A component means the simplest class that requires it.
        """
        assert name == resolve_pipeline_name(**given)

    def test_every_listed_task_has_a_class(self, catalog: Catalog) -> None:
        """Tags, aliases, families, variants of classes and components: none is listed that nothing is found for."""
        for task in get_available_tasks():
            assert resolve_pipeline_name(task=task) in {*catalog.pipelines, *catalog.automatic.values()}

    @pytest.mark.parametrize("name", ["GlidePipeline", "BDDMPipeline", "GradTTSPipeline"])
    def test_a_class_that_diffusers_has_removed_is_unknown(self, catalog: Catalog, name: str) -> None:
        """Early documentation of diffusers lists it, and no version that can be installed has it."""
        assert name not in catalog.pipelines
        assert [] == [each for each in catalog.pipelines if name.removesuffix("Pipeline").casefold() in each.casefold()]
        with pytest.raises(PipelineNotFoundError, match=f"^Unknown pipeline class '{name}'"):
            resolve_pipeline_name(class_name=name)

    def test_an_unknown_class_is_told_in_the_documented_words(self) -> None:
        """The message is the documented one, and the error is a ValueError."""
        with pytest.raises(ValueError, match=r"^Unknown pipeline class 'NoPipeline'\. Available pipelines: ") as caught:
            resolve_pipeline_name(class_name="NoPipeline")

        assert isinstance(caught.value, PipelineNotFoundError)
        assert len(str(caught.value)) < 300

    @pytest.mark.parametrize("task", ["s", "stable", "text-to-everything"])
    def test_part_of_a_name_is_no_name(self, task: str) -> None:
        """Nothing is taken for what it only resembles."""
        with pytest.raises(TaskNotFoundError, match="Unknown task"):
            resolve_pipeline_name(task=task)

    def test_nothing_is_an_error(self) -> None:
        """One of the three arguments is required."""
        with pytest.raises(PipelineNotFoundError, match="Set class_name"):
            resolve_pipeline_name()


@pytest.mark.usefixtures("catalog")
class TestModels:
    """Resolution by a model's own files."""

    def test_a_folder_says_what_it_is(self, model: Path) -> None:
        """The index of a folder names its class; with a task, the sibling is meant."""
        assert "StableDiffusionXLPipeline" == resolve_pipeline_name(model_id=str(model))
        assert "StableDiffusionXLImg2ImgPipeline" == resolve_pipeline_name(model_id=str(model), task="img2img")

    def test_a_model_cannot_do_what_it_is_not_for(self, model: Path) -> None:
        """A task of another kind names those that the model can do."""
        with pytest.raises(TaskNotFoundError, match="It can do: text-to-image"):
            resolve_pipeline_name(model_id=str(model), task="text-to-audio")

    def test_a_modular_folder_says_what_it_is(self, tmp_path: Path) -> None:
        """The index of a modular pipeline counts where there is no other."""
        (tmp_path / "modular_model_index.json").write_text('{"_class_name": "FluxModularPipeline"}', encoding="utf-8")

        assert "FluxModularPipeline" == resolve_pipeline_name(model_id=str(tmp_path))

    @pytest.mark.parametrize(
        ("index", "words"),
        [
            ({}, "no pipeline class"),
            ({"_class_name": None}, "no pipeline class"),
            ({"_class_name": 3}, "no pipeline class"),
            ({"_class_name": ["pipeline", "OwnPipeline"]}, "custom code"),
            ({"_class_name": "NoPipeline"}, "Unknown pipeline class 'NoPipeline'"),
        ],
    )
    def test_an_index_may_lead_nowhere(self, index: dict[str, Any], words: str) -> None:
        """What an index lacks or does not mean is said."""
        with pytest.raises(PipelineNotFoundError, match=words):
            pipeline_from_index(index)

    def test_a_folder_without_an_index_asks_nobody(self, tmp_path: Path) -> None:
        """A folder or a file on disk is never looked for on the Hub."""
        (tmp_path / "model.safetensors").write_bytes(b"")

        for path in (tmp_path, tmp_path / "model.safetensors"):
            with pytest.raises(IncompatibleWeightsError, match=r"has no model_index\.json|is a single file"):
                resolve_pipeline_name(model_id=str(path))


class Hub:
    """A Hub with one repository, which counts what it is asked."""

    def __init__(self, folder: Path, tag: str | None = None, **files: object) -> None:
        self.asked: list[str] = []
        self.tag = tag
        for name, content in files.items():
            (folder / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
        self.folder = folder

    def index(self, _repo: str) -> dict[str, Any] | None:
        """Return the repository's index."""
        self.asked.append("model_index.json")
        file = self.folder / "model_index.json"
        return json.loads(file.read_text(encoding="utf-8")) if file.exists() else None

    def task(self, _repo: str) -> str | None:
        """Return the repository's tag."""
        self.asked.append("tag")
        return self.tag

    def stand_in(self, patch: pytest.MonkeyPatch) -> Hub:
        """Be asked in place of the real one."""
        patch.setattr(repository, "repository_index", self.index)
        patch.setattr(repository, "pipeline_tag", self.task)
        return self


@pytest.mark.usefixtures("catalog")
def test_a_repository_is_asked_for_its_index_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a repository has an index, its tag is not asked for."""
    hub = Hub(tmp_path, tag="text-to-video", model_index={"_class_name": "FluxPipeline"}).stand_in(monkeypatch)

    assert "FluxPipeline" == resolve_pipeline_name(model_id="some/model")
    assert ["model_index.json"] == hub.asked


def test_a_tag_is_better_than_nothing(catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A repository without an index is for the task that its tag says."""
    Hub(tmp_path, tag="text-to-image").stand_in(monkeypatch)

    assert catalog.automatic["text-to-image"] == resolve_pipeline_name(model_id="some/model")


@pytest.mark.usefixtures("catalog")
def test_neither_index_nor_tag_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A repository that says nothing is not guessed at."""
    Hub(tmp_path).stand_in(monkeypatch)

    with pytest.raises(IncompatibleWeightsError, match="some/model has no model_index"):
        resolve_pipeline_name(model_id="some/model")
