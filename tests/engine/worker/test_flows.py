"""Solvers of noise on tiny models that match flows: in their form for flows, or refused with the reason."""

from __future__ import annotations

import diffusers
import numpy as np
import pytest
import torch

from calling import call, run
from makers import pipelines
from octabox.catalog.pipelines import load_catalog
from octabox.engine.worker.loading.models import LoadedModel
from octabox.engine.worker.runner import RawOutput, Runner
from octabox.errors import InvalidParameterError
from octabox.types import SchedulerChoice

#: What numpy says of diffusers' own ways; a worker would log it.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

#: Every class that says it can match flows, and what is said of those that are refused all the same.
FORMS = [name for name, entry in load_catalog().schedulers.items() if entry.setting("use_flow_sigmas")]
REASONS = {
    "DEISMultistepScheduler": "it does not reach a sigma of zero",
    "SASolverScheduler": "it does not reach a sigma of zero",
    "DPMSolverMultistepInverseScheduler": "it inverts an image into noise",
    "HeliosScheduler": "it is for",
    "HeliosDMDScheduler": "it is for",
}

#: Models of flows, and how many steps a solver has.
MODELS, STEPS = ("StableDiffusion3Pipeline", "FluxPipeline"), 30

PARAMS = {"prompt": "a red star", "num_inference_steps": STEPS, "height": 32, "width": 32, "max_sequence_length": 16}


@pytest.fixture(scope="module", params=MODELS)
def runner(request: pytest.FixtureRequest) -> Runner:
    """Return a runner of a tiny model that comes with Euler's method for flows."""
    pipe = pipelines()[request.param].make()
    pipe.set_progress_bar_config(disable=True)
    return Runner(LoadedModel(pipe, "cpu"))


def made(runner: Runner, scheduler: str | None = None) -> np.ndarray:
    """Return the pixels of two images."""
    choice = SchedulerChoice(scheduler) if scheduler else None
    done: RawOutput = run(runner, call(type(runner.pipelines[0]).__name__, PARAMS, seeds=(1, 2), scheduler=choice))
    return np.stack([np.asarray(product.value) for product, *_ in done.products]).astype(float).ravel()


def alike(one: np.ndarray, other: np.ndarray) -> float:
    """Return how far two sets of pixels go together: 1 is wholly."""
    return float(np.corrcoef(one, other)[0, 1])


@pytest.mark.parametrize("name", sorted(set(FORMS) - set(REASONS)))
def test_a_form_for_flows_makes_what_eulers_method_makes(runner: Runner, name: str) -> None:
    """Both follow the same flow, so that with many steps hardly a pixel differs."""
    assert alike(made(runner, name), made(runner)) > 0.999


@pytest.mark.parametrize("name", sorted(REASONS))
def test_a_form_that_does_not_work_is_refused(runner: Runner, name: str) -> None:
    """With what is wrong with it."""
    assert name in FORMS
    with pytest.raises(InvalidParameterError, match=f"{name} does not fit this model: {REASONS[name]}"):
        made(runner, name)


def test_without_its_form_a_solver_makes_something_else() -> None:
    """What is measured above tells a wrong form: of the model's configuration alone diffusers makes one that undoes noise."""
    pipe = pipelines()[MODELS[0]].make()
    pipe.set_progress_bar_config(disable=True)
    own = pipe(**PARAMS, generator=torch.Generator().manual_seed(1)).images[0]
    pipe.scheduler = diffusers.DPMSolverMultistepScheduler.from_config(pipe.scheduler.config)
    other = pipe(**PARAMS, generator=torch.Generator().manual_seed(1)).images[0]

    assert alike(*(np.asarray(image).astype(float).ravel() for image in (own, other))) < 0.99
