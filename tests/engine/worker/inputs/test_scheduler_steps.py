"""A copy that a pipeline makes of a scheduler takes its own steps, whatever has changed the steps of the original."""

from __future__ import annotations

import copy
import inspect
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from diffusers import EulerDiscreteScheduler

import octabox
from makers import pipelines
from octabox.engine.protocol import Run
from octabox.engine.worker.inputs.latents.changes import changes_of
from octabox.engine.worker.inputs.scheduler_steps import changed_step
from octabox.engine.worker.prediction_trial import convert_to_noise
from octabox.engine.worker.scheduler_factory import build_scheduler
from octabox.engine.worker.steps import StepCallback
from octabox.noise import InitialNoise
from octabox.types import SchedulerChoice

#: Deprecations of numpy in diffusers.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

#: The files that set the step of a scheduler, and those that do it by the function for that.
SETTING = re.compile(r"\b\w+\.step = |\bchanged_step\(")


def own(prediction: str = "epsilon") -> Any:
    """Return a scheduler that counts its steps."""
    return EulerDiscreteScheduler(prediction_type=prediction)


@contextmanager
def converted(scheduler: Any) -> Iterator[Any]:
    """Yield a scheduler that converts the outputs of the model."""
    scheduler.register_to_config(prediction_type="v_prediction")
    yield convert_to_noise(scheduler)


@contextmanager
def with_settings(scheduler: Any) -> Iterator[Any]:
    """Yield a scheduler whose steps have settings."""
    choice = SchedulerChoice("EulerDiscreteScheduler", {"s_noise": 0.5})
    yield build_scheduler(scheduler, dict(scheduler.config), choice)


@contextmanager
def watched(scheduler: Any) -> Iterator[Any]:
    """Yield a scheduler whose steps are watched, since the initial noise is changed."""
    pipe: Any = SimpleNamespace(scheduler=scheduler)
    arguments = {"generator": torch.Generator(), "height": 8, "width": 8}
    with changes_of(pipe, Run({}, noise=InitialNoise(scale=2)), arguments, StepCallback(pipe, print, "denoiser"), []):
        yield scheduler


@contextmanager
def all_of_them(scheduler: Any) -> Iterator[Any]:
    """Yield a scheduler with all changes, one over the other."""
    with converted(scheduler) as first:
        first.step = changed_step(first, lambda inner, *args, **options: inner(*args, **{**options, "s_noise": 0.5}))
        with watched(first) as second:
            yield second


#: What changes the steps of a scheduler, with its file.
CHANGES: dict[str, Callable[[Any], Any]] = {
    "prediction_trial.py": converted,
    "scheduler_factory.py": with_settings,
    "inputs/latents/changes.py": watched,
    "inputs/scheduler_steps.py": all_of_them,
}


def test_all_files_that_set_a_step_are_tested() -> None:
    """A new one needs a case here."""
    folder = Path(octabox.__file__).parent / "engine"
    found = {file.relative_to(folder / "worker").as_posix() for file in folder.rglob("*.py") if sets_step(file)}

    assert set(CHANGES) == found


def sets_step(file: Path) -> bool:
    """Return whether a file sets the step of a scheduler."""
    return bool(SETTING.search(file.read_text(encoding="utf-8")))


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_copy_takes_its_own_steps(change: Callable[[Any], Any]) -> None:
    """The index of the original stays, both give the same, and the signature is that of the class."""
    zeros, ones = torch.zeros(1, 4, 4, 4), torch.ones(1, 4, 4, 4)
    with change(own()) as scheduler:
        scheduler.set_timesteps(4)
        copied = copy.deepcopy(scheduler)
        for timestep in copied.timesteps[:2]:
            copied.step(zeros, timestep, ones)

        assert (None, 2) == (scheduler.step_index, copied.step_index)
        first, again = (
            each.step(ones, each.timesteps[0], ones).prev_sample for each in (scheduler, copy.deepcopy(scheduler))
        )
        assert torch.equal(first, again)
        assert 1 == scheduler.step_index
        assert next(iter(inspect.signature(scheduler.step).parameters)) in {"model_output", "output"}


def test_a_pipeline_that_copies_its_scheduler() -> None:
    """Video and sound have their own steps: watched, they are those of a call without changes."""
    tiny = pipelines()["LTX2Pipeline"]
    pipe: Any = tiny.make()
    pipe.set_progress_bar_config(disable=True)
    made = []
    for noise in (None, InitialNoise(scale=1.0)):
        arguments = {**tiny.params, "output_type": "latent", "generator": torch.Generator().manual_seed(1)}
        with changes_of(pipe, Run({}, noise=noise), arguments, StepCallback(pipe, print, "denoiser"), []):
            made.append(pipe(**arguments))

    assert torch.equal(made[0].frames, made[1].frames)
    assert torch.equal(made[0].audio, made[1].audio)
