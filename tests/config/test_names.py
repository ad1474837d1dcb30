"""Names of pipelines, parameters and schedulers in configurations."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from octabox.config.model import ModelConfig
from octabox.config.names import check_names, pipeline_of
from octabox.config.parsing import Entry
from octabox.config.problems import KeyPath, Location


@dataclass(frozen=True)
class SchedulerAlias:
    """A parameter."""

    name: str


@dataclass(frozen=True)
class Entered:
    """A pipeline of the catalog."""

    parameters: tuple[SchedulerAlias, ...]


@dataclass(frozen=True)
class Scheduler:
    """A noise scheduler of the catalog."""

    settings: tuple[SchedulerAlias, ...]
    step_settings: tuple[SchedulerAlias, ...] = ()


def takes(*names: str) -> Entered:
    """Return something that takes these parameters."""
    return Entered(tuple(map(SchedulerAlias, names)))


PIPELINES = {"APipeline": takes("prompt", "guidance_scale", "num_inference_steps")}
SCHEDULERS = {
    "DDIMScheduler": Scheduler((SchedulerAlias("eta"),)),
    "EulerDiscreteScheduler": Scheduler((SchedulerAlias("use_karras_sigmas"),)),
}


def problems(fields: dict[str, object], tasks: tuple[str, ...] = ()) -> list[str]:
    """Check a configuration with these fields."""
    config = ModelConfig.model_validate({"name": "x", "model": "owner/name", **fields})
    locations: dict[KeyPath, Location] = {("defaults", "steps"): Location(7, 3)}
    return [
        str(problem) for problem in check_names([Entry(config, Path("f"), locations)], PIPELINES, SCHEDULERS, tasks)
    ]


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"pipeline": "APipeline", "defaults": {"guidance_scale": 1}, "scheduler": "k_euler"},
        {"pipeline": "DiffusionPipeline", "defaults": {"anything": 1}},
        {"pipeline": "AutoPipelineForText2Image"},
        {"pipeline": "text-to-image"},
        {"scheduler": {"name": "ddim", "settings": {"eta": 1}}},
    ],
)
def test_names_that_exist_are_no_problem(fields: dict[str, object]) -> None:
    """Classes, tasks, aliases and settings; names that depend on the weights are not checked."""
    assert [] == problems(fields)


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"pipeline": "APipelin"}, "f:1:1: error: There is no pipeline 'APipelin'. (did you mean APipeline?)"),
        (
            {"pipeline": "APipeline", "defaults": {"steps": 9}},
            "f:7:3: error: APipeline has no parameter 'steps'.",
        ),
        (
            {"pipeline": "APipeline", "defaults": {"guidance": 9}},
            "f:1:1: error: APipeline has no parameter 'guidance'. (did you mean guidance_scale?)",
        ),
        ({"scheduler": "euler_turbo"}, "f:1:1: error: Schedule 'turbo' has no equivalent in diffusers."),
        ({"scheduler": "eulr"}, "f:1:1: error: There is no scheduler 'eulr'."),
        (
            {"scheduler": {"name": "ddim", "settings": {"etaa": 1}}},
            "f:1:1: error: DDIMScheduler has no setting 'etaa'. (did you mean eta?)",
        ),
        (
            {"scheduler": "k_ddim"},
            "f:1:1: error: 'k_ddim' sets 'use_karras_sigmas', which DDIMScheduler does not have.",
        ),
    ],
)
def test_names_that_lead_nowhere_are_errors(fields: dict[str, object], problem: str) -> None:
    """With their place and the nearest name."""
    assert problems(fields)[0].startswith(problem)


def test_defaults_of_all_that_runs_on_the_weights_are_known() -> None:
    """A default holds for another class that a request chooses, too."""
    fields = {"model": "owner/name", "pipeline": "APipeline", "defaults": {"strength": 1, "strengths": 1}}
    entry = Entry(ModelConfig.model_validate({"name": "x", **fields}), Path("f"), {})
    found = check_names([entry], PIPELINES, SCHEDULERS, family=lambda _, name: [PIPELINES[name], takes("strength")])

    assert ["APipeline has no parameter 'strengths'."] == [problem.message for problem in found]


def test_a_task_is_checked_where_tasks_are_known() -> None:
    """A name that begins with a capital letter is a class."""
    assert [] == problems({"pipeline": "text-to-image"}, ("text-to-image",))
    assert ["f:1:1: error: There is no task 'text-to-imag'. (did you mean text-to-image?)"] == problems(
        {"pipeline": "text-to-imag"}, ("text-to-image",)
    )


def test_a_folder_names_its_own_pipeline(tmp_path: Path) -> None:
    """The defaults are checked against it."""
    (tmp_path / "model_index.json").write_text('{"_class_name": "APipeline"}')
    config = ModelConfig(name="x", model=str(tmp_path), defaults={"steps": 9})

    entry = Entry(config, Path("f"))

    assert "APipeline" == pipeline_of(entry)
    assert ["APipeline has no parameter 'steps'."] == [
        problem.message for problem in check_names([entry], PIPELINES, SCHEDULERS)
    ]
