"""LocalAI's module, by its contract: names, signatures, errors, and objects that stay the same."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path

import diffusers
import pytest

from octabox import demo
from octabox.compat import diffusers_dynamic_loader as loader

# A module that diffusers' choosing classes import says so.
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")

#: Every public function with its parameters and their defaults.
SIGNATURES = {
    "discover_diffusers_classes": {"base_class_name": inspect.Parameter.empty, "include_base": True},
    "get_available_classes": {"base_class_name": inspect.Parameter.empty},
    "get_available_pipelines": {},
    "get_available_tasks": {},
    "get_pipeline_info": {"class_name": inspect.Parameter.empty},
    "get_pipeline_registry": {},
    "get_task_aliases": {},
    "load_diffusers_pipeline": {
        "class_name": None,
        "task": None,
        "model_id": None,
        "from_single_file": False,
        "kwargs": inspect.Parameter.empty,
    },
    "resolve_pipeline_class": {"class_name": None, "task": None, "model_id": None},
}


#: The names of tasks that LocalAI's module knows whatever diffusers has.
LOCALAI_TASKS = [
    "text-to-image",
    "txt2img",
    "text2image",
    "image-to-image",
    "img2img",
    "image2image",
    "image-to-video",
    "img2vid",
    "img2video",
    "text-to-video",
    "txt2vid",
    "text2video",
    "inpainting",
    "inpaint",
    "depth-to-image",
    "depth2img",
    "controlnet",
    "control-net",
    "upscaling",
    "upscale",
    "super-resolution",
]


@pytest.mark.parametrize("name", SIGNATURES)
def test_a_function_takes_what_localais_takes(name: str) -> None:
    """Each public name is a function with the same parameters in the same order, and the same defaults."""
    parameters = inspect.signature(getattr(loader, name)).parameters

    assert SIGNATURES[name] == {each.name: each.default for each in parameters.values()}
    assert sorted(SIGNATURES) == sorted(loader.__all__)


def test_the_registry_holds_classes() -> None:
    """Each name leads to its class of diffusers; the base and the classes that choose a pipeline are among them."""
    registry = loader.get_pipeline_registry()

    assert {"DiffusionPipeline", "StableDiffusionPipeline", "FluxPipeline"} <= set(registry)
    assert {"AutoPipelineForText2Image", "AutoPipelineForImage2Image", "AutoPipelineForInpainting"} <= set(registry)
    assert all(kind is getattr(diffusers, name, kind) for name, kind in registry.items())
    assert sorted(registry) == loader.get_available_pipelines()


@pytest.mark.parametrize(
    "ask",
    [
        loader.get_pipeline_registry,
        loader.get_task_aliases,
        lambda: loader.discover_diffusers_classes("SchedulerMixin"),
        lambda: loader.discover_diffusers_classes("SchedulerMixin", include_base=False),
    ],
)
def test_a_second_call_returns_the_same_object(ask: object) -> None:
    """What was discovered is kept as long as the process lives."""
    assert callable(ask)
    assert ask() is ask()


def test_the_base_is_among_its_classes_where_it_is_wanted() -> None:
    """`include_base` alone decides about the base, whatever was asked for before."""
    with_base = loader.discover_diffusers_classes("SchedulerMixin")
    without = loader.discover_diffusers_classes("SchedulerMixin", include_base=False)

    assert with_base["SchedulerMixin"] is diffusers.SchedulerMixin
    assert {"SchedulerMixin"} == set(with_base) - set(without)
    assert sorted(with_base) == loader.get_available_classes("SchedulerMixin")
    assert "UNet2DConditionModel" in loader.discover_diffusers_classes("ModelMixin")


def test_a_class_without_subclasses_is_a_base_too() -> None:
    """Of a class that nothing inherits from, there is itself."""
    assert ["AutoPipelineForText2Image"] == loader.get_available_classes("AutoPipelineForText2Image")


def test_an_unknown_base_is_a_value_error() -> None:
    """The message names the base."""
    with pytest.raises(ValueError, match="Could not find base class 'Nothing' in diffusers"):
        loader.discover_diffusers_classes("Nothing")


@pytest.mark.parametrize("name", ["StableDiffusionPipeline", "stablediffusionpipeline", "STABLEDIFFUSIONPIPELINE"])
def test_a_name_may_have_any_case(name: str) -> None:
    """Class names are found in any case."""
    assert loader.resolve_pipeline_class(class_name=name) is diffusers.StableDiffusionPipeline


@pytest.mark.parametrize("name", ["DiffusionPipeline", "AutoPipelineForText2Image"])
def test_classes_that_choose_are_resolved(name: str) -> None:
    """The base, and the classes that choose a pipeline for a task, have a name like any other."""
    assert loader.resolve_pipeline_class(name) is getattr(diffusers, name)


def test_every_task_resolves_to_the_first_of_its_classes() -> None:
    """What `get_task_aliases` lists first is what a task resolves to, for every name of a task."""
    aliases = loader.get_task_aliases()

    assert {"text-to-image", "txt2img", "img2img", "inpaint", "stable-diffusion"} <= set(aliases)
    assert sorted(aliases) == loader.get_available_tasks()
    for task in ("text-to-image", "img2img", "inpainting", "text_to_video", "stable-diffusion", "flux"):
        assert aliases[task.replace("_", "-")][0] == loader.resolve_pipeline_class(task=task).__name__
    assert loader.resolve_pipeline_class(task="stable-diffusion") is diffusers.StableDiffusionPipeline


@pytest.mark.parametrize("task", LOCALAI_TASKS)
def test_localais_names_of_tasks_are_known(task: str) -> None:
    """Each is listed and resolves, in any case and with either separator, to the first of its classes."""
    classes = loader.get_task_aliases()[task]

    assert task in loader.get_available_tasks()
    for spelling in (task, task.upper(), task.replace("-", "_")):
        assert classes[0] == loader.resolve_pipeline_class(task=spelling).__name__


def test_controlnets_are_resolved_by_their_component() -> None:
    """The name of the component stands for the classes that require it, the simplest first."""
    assert loader.resolve_pipeline_class(task="controlnet") is diffusers.StableDiffusionControlNetPipeline
    assert "controlnet" in loader.get_pipeline_info("FluxControlNetPipeline")["aliases"]


@pytest.mark.parametrize("count", [20])
def test_messages_list_the_first_names(count: int) -> None:
    """A message has as many names as LocalAI's, in order, and three dots; those of pipelines are not imported for it."""
    with pytest.raises(ValueError, match="Unknown pipeline class") as pipelines:
        loader.resolve_pipeline_class("x")
    with pytest.raises(ValueError, match="Unknown task") as tasks:
        loader.resolve_pipeline_class(task="x")

    for caught, names in ((pipelines, loader._names()), (tasks, loader.get_available_tasks())):
        assert str(caught.value).endswith(f": {', '.join(names[:count])}...")


def test_a_model_is_read_by_the_class_of_its_index(tmp_path: Path) -> None:
    """The class that a model's index names is taken; where there is none to be had, diffusers' base reads the model."""
    assert loader.resolve_pipeline_class(model_id=str(demo.FOLDER)) is diffusers.StableDiffusionPipeline
    assert loader.resolve_pipeline_class(model_id=str(tmp_path)) is diffusers.DiffusionPipeline
    assert loader.resolve_pipeline_class(model_id="some/nonexistent-model") is diffusers.DiffusionPipeline


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (
            {"class_name": "NonExistentPipeline"},
            r"Unknown pipeline class 'NonExistentPipeline'\. Available pipelines: ",
        ),
        ({"task": "nonexistent-task-xyz"}, r"Unknown task 'nonexistent-task-xyz'\. Available tasks: "),
        ({}, "Must provide at least one of: class_name, task, or model_id"),
    ],
)
def test_what_cannot_be_resolved_is_a_value_error(given: dict[str, str], says: str) -> None:
    """The message begins as LocalAI's, and lists what there is."""
    with pytest.raises(ValueError, match=says):
        loader.resolve_pipeline_class(**given)


def test_information_of_a_class() -> None:
    """A class's information has its name, the tasks and families it stands for, and whether it loads single files."""
    info = loader.get_pipeline_info("StableDiffusionPipeline")

    assert ["aliases", "docstring", "name", "supports_single_file"] == sorted(info)
    assert "StableDiffusionPipeline" == info["name"]
    assert {"stable-diffusion", "text-to-image", "txt2img"} <= set(info["aliases"])
    assert info["supports_single_file"] is True
    assert loader.get_pipeline_info("DDPMPipeline")["supports_single_file"] is False
    assert 0 < len(info["docstring"]) <= 200


def test_information_of_an_unknown_class_is_a_value_error() -> None:
    """The message names the class."""
    with pytest.raises(ValueError, match="Unknown pipeline: NonExistentPipeline"):
        loader.get_pipeline_info("NonExistentPipeline")


@pytest.mark.parametrize("chosen", [{}, {"class_name": "stablediffusionpipeline"}, {"task": "stable-diffusion"}])
def test_a_pipeline_is_loaded(chosen: dict[str, str]) -> None:
    """A model loads by its own index, by a class, and by a family; keywords go to diffusers."""
    pipe = loader.load_diffusers_pipeline(model_id=str(demo.FOLDER), safety_checker=None, **chosen)  # type: ignore[arg-type]

    assert isinstance(pipe, diffusers.StableDiffusionPipeline)


def test_a_pipeline_needs_a_model() -> None:
    """A class alone cannot be loaded."""
    with pytest.raises(ValueError, match="model_id is required to load a pipeline"):
        loader.load_diffusers_pipeline(class_name="StableDiffusionPipeline")


@pytest.mark.parametrize(
    ("name", "single", "says"),
    [
        ("StableDiffusionPipeline", False, "Failed to load pipeline 'StableDiffusionPipeline' from '.*nothing'"),
        ("DDPMPipeline", True, r"Pipeline class DDPMPipeline does not support from_single_file\(\)"),
    ],
)
def test_a_model_that_does_not_load_is_a_runtime_error(tmp_path: Path, name: str, single: bool, says: str) -> None:
    """The message names the class and the model."""
    with pytest.raises(RuntimeError, match=says) as caught:
        loader.load_diffusers_pipeline(name, model_id=str(tmp_path / "nothing"), from_single_file=single)
    assert "\nAvailable pipelines: AceStepPipeline, " in str(caught.value)
    assert caught.value.__cause__ is not None


@pytest.mark.slow
def test_a_name_costs_one_class() -> None:
    """Resolving a name or asking about a class imports no other pipeline, and the lists of tasks import no torch."""
    code = (
        "import sys; from octabox.compat import diffusers_dynamic_loader as loader; loader.get_available_tasks();"
        "light = 'torch' not in sys.modules; loader.resolve_pipeline_class('ddpmpipeline');"
        "print(light, 'diffusers.pipelines.flux.pipeline_flux' in sys.modules)"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert "True False" == done.stdout.strip()
