"""Schedulers that diverge in few steps are found by a trial, and the caller is told."""

from __future__ import annotations

import contextlib
import io
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler, FlowMatchEulerDiscreteScheduler
from PIL import Image

import trained
from embedded import Calls, finish
from octabox.catalog.loading import import_class
from octabox.catalog.pipelines import load_catalog
from octabox.engine.local.engine import LocalEngine
from octabox.engine.worker.inputs.solver_trial import solver_warnings
from octabox.engine.worker.scheduler_factory import build_scheduler
from octabox.errors import InvalidParameterError
from octabox.schedulers.names import resolve_scheduler
from octabox.types import SchedulerChoice

#: Deprecations of numpy in diffusers.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

#: The training of the embedded model.
SETTINGS = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012, "set_alpha_to_one": False}


def warnings_of(
    name: str, steps: int, guidance: float, prediction: str = "v_prediction", **params: Any
) -> tuple[list[str], Any]:
    """Return the warnings for a scheduler, and the scheduler."""
    catalog = load_catalog()
    entry = catalog.pipelines["StableDiffusionPipeline"]
    own = DDIMScheduler(**SETTINGS, steps_offset=1, clip_sample=False, prediction_type=prediction)
    found = resolve_scheduler(name, {}, catalog.schedulers)
    choice = SchedulerChoice(found.kind, dict(found.settings))
    scheduler = build_scheduler(own, dict(own.config), choice, entry)
    params = {"num_inference_steps": steps, "guidance_scale": guidance, **params}
    return solver_warnings(SimpleNamespace(scheduler=scheduler), entry, params), scheduler


@pytest.mark.parametrize("prediction", ["v_prediction", "epsilon"])
@pytest.mark.parametrize(("name", "steps"), [("plms", 6), ("plms", 12), ("dpm_2", 6), ("dpm_2_a", 8), ("heun", 4)])
def test_solvers_that_diverge(name: str, steps: int, prediction: str) -> None:
    """The warning names a number of steps in which they do not; the embedded model shows wrong shapes or colours."""
    (warning,), scheduler = warnings_of(name, steps, 3.0, prediction)

    expected = f"'num_inference_steps' {steps} is too few for {type(scheduler).__name__} at 'guidance_scale' 3: "
    assert warning.startswith(expected)
    enough = int(warning.partition("at least ")[2].partition(" ")[0])
    assert enough > steps
    assert [] == warnings_of(name, enough, 3.0, prediction)[0]


@pytest.mark.parametrize("steps", [1, 2, 4, 8])
@pytest.mark.parametrize("name", ["ddim", "ddpm", "euler", "euler_a", "dpmpp_2m", "dpmpp_sde", "unipc", "deis", "lcm"])
def test_solvers_that_are_as_accurate_as_their_steps_allow(name: str, steps: int) -> None:
    """They give the image that few steps can give, and no warning."""
    assert [] == warnings_of(name, steps, 3.0)[0]


def test_the_guidance_decides() -> None:
    """Without it nothing is extrapolated beyond the image; a larger one needs more steps."""
    assert [] == warnings_of("plms", 12, 1.0)[0]
    assert "'guidance_scale' 7.5" in warnings_of("plms", 20, 7.5)[0][0]
    assert [] == warnings_of("plms", 30, 7.5)[0]


def test_too_few_steps_for_any_schedule() -> None:
    """The words of numpy about shapes do not reach the client."""
    with pytest.raises(InvalidParameterError, match=r"^PNDMScheduler has no schedule of 2 steps\.") as caught:
        warnings_of("pndm", 2, 3.0)

    assert "num_inference_steps" == caught.value.parameter
    enough = int(caught.value.hint.partition("at least ")[2].partition(" ")[0])
    warnings_of("pndm", enough, 3.0)


def test_the_trial_changes_nothing() -> None:
    """Neither the scheduler nor the generators of the libraries."""
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    _, scheduler = warnings_of("dpmpp_sde", 7, 3.0)

    assert torch.equal(expected, torch.rand(2))
    assert scheduler.num_inference_steps is None or scheduler.num_inference_steps != 7


def test_what_cannot_be_tried() -> None:
    """Flow matching, schedules of the caller, and many steps."""
    flow = SimpleNamespace(scheduler=FlowMatchEulerDiscreteScheduler())
    entry = load_catalog().pipelines["StableDiffusionPipeline"]

    assert [] == solver_warnings(flow, entry, {"num_inference_steps": 2})
    assert [] == solver_warnings(SimpleNamespace(), entry, {"num_inference_steps": 2})
    assert [] == warnings_of("plms", 12, 3.0, timesteps=[999, 1])[0]
    assert [] == warnings_of("plms", 100, 30.0)[0]


@pytest.mark.parametrize("name", sorted(load_catalog().schedulers))
@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample", "flow_prediction"])
def test_no_scheduler_breaks_a_call(name: str, prediction: str) -> None:
    """Whatever the trial cannot do, the call goes on: there is a list, or the scheduler has no schedule of a single step."""
    entry = load_catalog().pipelines["StableDiffusionPipeline"]
    try:
        scheduler = import_class(name)()
    except (TypeError, ValueError, ImportError) as error:
        pytest.skip(f"it is made of more than defaults: {error}")
    if "prediction_type" in scheduler.config:
        scheduler.register_to_config(prediction_type=prediction)

    with contextlib.suppress(InvalidParameterError):
        assert [] == solver_warnings(SimpleNamespace(scheduler=scheduler), entry, {"num_inference_steps": 1})


@pytest.mark.slow
async def test_the_caller_is_told(engine: LocalEngine, calls: Calls) -> None:
    """The image of the embedded model is right, or comes with the warning."""
    choice = SchedulerChoice("PNDMScheduler", {"skip_prk_steps": True})
    params: dict[str, Any] = {
        "prompt": trained.PROMPT,
        "num_inference_steps": trained.STEPS,
        "guidance_scale": trained.GUIDANCE,
    }
    generation = await finish(engine, calls(scheduler=choice, **params))

    image = Image.open(io.BytesIO(generation.artifacts[0].content)).convert("RGB")
    assert ("circle", "red", "white") != trained.shows(image)
    assert any("too few for PNDMScheduler" in warning for warning in generation.warnings)
