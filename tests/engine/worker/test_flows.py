"""Schedulers on tiny flow matching models: in their variant for flows, or rejected with a reason."""

from __future__ import annotations

import diffusers
import numpy as np
import pytest
import torch

from calling import call, run
from makers import pipelines
from octabox.catalog.pipelines import load_catalog
from octabox.engine.worker.loading.models import LoadedModel
from octabox.engine.worker.outputs.encoding import RawOutput
from octabox.engine.worker.runner import Runner
from octabox.errors import InvalidParameterError
from octabox.types import SchedulerChoice

#: Deprecations of numpy in diffusers.
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::DeprecationWarning")]

#: All classes with a setting for flow matching, and the reasons for those that are rejected.
FORMS = [name for name, entry in load_catalog().schedulers.items() if entry.setting("use_flow_sigmas")]
REASONS = {
    "DEISMultistepScheduler": "it does not reach a sigma of zero",
    "SASolverScheduler": "it does not reach a sigma of zero",
    "DPMSolverMultistepInverseScheduler": "it inverts an image into noise",
    "HeliosScheduler": "it is made for",
    "HeliosDMDScheduler": "it is made for",
}

#: Flow matching models, and the number of steps.
MODELS, STEPS = ("StableDiffusion3Pipeline", "FluxPipeline"), 30

PARAMS = {"prompt": "a red star", "num_inference_steps": STEPS, "height": 32, "width": 32, "max_sequence_length": 16}


@pytest.fixture(scope="module", params=MODELS)
def runner(request: pytest.FixtureRequest) -> Runner:
    """Return a runner of a tiny model with the Euler scheduler for flow matching."""
    pipe = pipelines()[request.param].make()
    pipe.set_progress_bar_config(disable=True)
    return Runner(LoadedModel(pipe, "cpu"))


def made(runner: Runner, scheduler: str | None = None) -> np.ndarray:
    """Return the pixels of two images."""
    choice = SchedulerChoice(scheduler) if scheduler else None
    done: RawOutput = run(runner, call(type(runner.pipelines[0]).__name__, PARAMS, seeds=(1, 2), scheduler=choice))
    return np.stack([np.asarray(item.value) for item, *_ in done.outputs]).astype(float).ravel()


def correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Return the correlation of two sets of pixels."""
    return float(np.corrcoef(one, other)[0, 1])


@pytest.mark.parametrize("name", sorted(set(FORMS) - set(REASONS)))
def test_flow_matching_schedulers(runner: Runner, name: str) -> None:
    """With many steps they give almost the image of the Euler scheduler."""
    assert correlation(made(runner, name), made(runner)) > 0.999


@pytest.mark.parametrize("name", sorted(REASONS))
def test_incompatible_schedulers(runner: Runner, name: str) -> None:
    """The error states the reason."""
    assert name in FORMS
    with pytest.raises(InvalidParameterError, match=f"{name} does not fit this model: {REASONS[name]}"):
        made(runner, name)


def test_schedulers_without_flow_matching() -> None:
    """A scheduler that diffusers builds from the configuration alone gives another image."""
    pipe = pipelines()[MODELS[0]].make()
    pipe.set_progress_bar_config(disable=True)
    expected = pipe(**PARAMS, generator=torch.Generator().manual_seed(1)).images[0]
    pipe.scheduler = diffusers.DPMSolverMultistepScheduler.from_config(pipe.scheduler.config)
    other = pipe(**PARAMS, generator=torch.Generator().manual_seed(1)).images[0]

    assert correlation(*(np.asarray(image).astype(float).ravel() for image in (expected, other))) < 0.99
