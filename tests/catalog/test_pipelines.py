"""The catalog of the installed diffusers."""

from __future__ import annotations

import subprocess
import sys

import pytest

from octabox.catalog.pipelines import Catalog
from octabox.catalog.tasks import vocabulary
from octabox.errors import PipelineNotFoundError, SchedulerNotFoundError, TaskNotFoundError


def test_everything_is_there(catalog: Catalog) -> None:
    """No pipeline and no scheduler of diffusers is missing."""
    assert 300 <= len([entry for entry in catalog.pipelines.values() if not entry.modular])
    assert 30 <= len([entry for entry in catalog.pipelines.values() if entry.modular])
    assert 45 <= len(catalog.schedulers)


def test_every_pipeline_has_a_task_and_an_output(catalog: Catalog) -> None:
    """Each class has tasks, an output, parameters and outputs; those that have not stand in the data file, with a reason."""
    lacking = {
        entry.name
        for entry in catalog.pipelines.values()
        if not (entry.tasks and entry.output_kind and entry.parameters and entry.outputs)
    }
    excused = {name: said["reason"] for name, said in vocabulary().exceptions.items()}

    assert set() == lacking - excused.keys()
    assert all(excused.values())
    assert len(excused) < 10


def test_every_exception_is_still_needed(catalog: Catalog) -> None:
    """The data file names no class that is gone."""
    assert set() == vocabulary().exceptions.keys() - catalog.pipelines.keys()


@pytest.mark.parametrize(
    ("name", "tasks"),
    [
        ("StableDiffusionPipeline", ("text-to-image",)),
        ("StableDiffusionImg2ImgPipeline", ("image-to-image",)),
        ("StableDiffusionInpaintPipeline", ("inpainting",)),
        ("StableDiffusionUpscalePipeline", ("image-to-image",)),
        ("StableDiffusionControlNetPipeline", ("text-to-image",)),
        ("FluxFillPipeline", ("inpainting",)),
        ("FluxKontextPipeline", ("text-to-image", "image-to-image")),
        ("QwenImageEditPipeline", ("image-to-image",)),
        ("StableVideoDiffusionPipeline", ("image-to-video",)),
        ("CogVideoXPipeline", ("text-to-video",)),
        ("CogVideoXVideoToVideoPipeline", ("video-to-video",)),
        ("MarigoldDepthPipeline", ("depth-estimation",)),
        ("AudioLDM2Pipeline", ("text-to-audio",)),
        ("DDPMPipeline", ("unconditional-image-generation",)),
        ("ShapEPipeline", ("text-to-3d",)),
        ("KandinskyPriorPipeline", ("feature-extraction",)),
    ],
)
def test_tasks_are_those_that_people_know(catalog: Catalog, name: str, tasks: tuple[str, ...]) -> None:
    """Well-known classes serve what they are known for."""
    assert tasks == catalog.pipeline(name).tasks


def test_an_unknown_pipeline_has_neighbours(catalog: Catalog) -> None:
    """A name that is nearly right leads to the right one, and not to a list of them all."""
    with pytest.raises(PipelineNotFoundError) as caught:
        catalog.pipeline("StableDifusionPipeline")

    assert "Unknown pipeline class 'StableDifusionPipeline'." == caught.value.message
    assert "StableDiffusionPipeline" == caught.value.choices[0]
    assert len(caught.value.choices) <= 3


def test_an_unknown_scheduler_has_neighbours(catalog: Catalog) -> None:
    """A scheduler's name that is nearly right leads to the right one."""
    with pytest.raises(SchedulerNotFoundError) as caught:
        catalog.scheduler("EulerDiscreetScheduler")

    assert "EulerDiscreteScheduler" == caught.value.choices[0]


@pytest.mark.parametrize(
    ("task", "name"),
    [
        ("text-to-image", "StableDiffusionPipeline"),
        ("img2img", "StableDiffusionImg2ImgPipeline"),
        ("Inpaint", "StableDiffusionInpaintPipeline"),
        ("txt2vid", "WanPipeline"),
        ("depth-estimation", "MarigoldDepthPipeline"),
    ],
)
def test_a_task_means_the_plainest_class(catalog: Catalog, task: str, name: str) -> None:
    """A task alone leads to the class of a large family that needs nothing else, never to the first by alphabet."""
    assert name == catalog.for_task(task).name


def test_deprecated_classes_stand_last(catalog: Catalog) -> None:
    """No class that diffusers has given up ranks before one that it has not."""
    ages = [entry.deprecated for entry in catalog.ranking("text-to-image")]

    assert sorted(ages) == ages
    assert {False, True} == set(ages)


@pytest.mark.parametrize("nonsense", ["s", "text-to-nothing", "", "image"])
def test_part_of_a_task_is_no_task(catalog: Catalog, nonsense: str) -> None:
    """A task is found by one of its names alone."""
    with pytest.raises(TaskNotFoundError):
        catalog.for_task(nonsense)


@pytest.mark.parametrize(
    ("own", "task", "name"),
    [
        ("StableDiffusionPipeline", "image-to-image", "StableDiffusionImg2ImgPipeline"),
        ("StableDiffusionPipeline", "text-to-image", "StableDiffusionPipeline"),
        ("StableDiffusionXLInpaintPipeline", "txt2img", "StableDiffusionXLPipeline"),
        ("FluxPipeline", "inpainting", "FluxInpaintPipeline"),
        ("CogVideoXPipeline", "video-to-video", "CogVideoXVideoToVideoPipeline"),
    ],
)
def test_a_task_of_a_model_means_its_sibling(catalog: Catalog, own: str, task: str, name: str) -> None:
    """With a model's class, a task leads to the class that runs on the same weights."""
    assert name == catalog.for_task(task, like=own).name


def test_a_model_cannot_do_everything(catalog: Catalog) -> None:
    """A task that no sibling serves is an error that names those that they do."""
    with pytest.raises(TaskNotFoundError, match="cannot do text-to-video") as caught:
        catalog.for_task("text-to-video", like="StableDiffusionPipeline")

    assert ("text-to-image", "image-to-image", "inpainting") == caught.value.choices


@pytest.mark.parametrize(
    ("family", "name"),
    [
        ("stable-diffusion", "StableDiffusionPipeline"),
        ("stable-diffusion-xl", "StableDiffusionXLPipeline"),
        ("sdxl", "StableDiffusionXLPipeline"),
        ("flux", "FluxPipeline"),
        ("qwen-image", "QwenImagePipeline"),
        ("qwenimage", "QwenImagePipeline"),
    ],
)
def test_a_family_means_its_plain_class(catalog: Catalog, family: str, name: str) -> None:
    """A family's name leads to the class of that name, never to one that needs an adapter."""
    entry = catalog.family(family)

    assert entry is not None
    assert name == entry.name


def test_reading_imports_nothing() -> None:
    """The catalog is there without torch, diffusers or transformers."""
    code = "import sys; from octabox.catalog.pipelines import load_catalog; load_catalog(); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()

    assert set() == {"torch", "diffusers", "transformers", "pydantic", "rich"} & set(loaded)
