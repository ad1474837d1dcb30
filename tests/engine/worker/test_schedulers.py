"""Schedulers on the embedded model, which predicts velocity: each makes the right picture, or is refused."""

from __future__ import annotations

import io

import diffusers
import pytest
from PIL import Image

from demo_pictures import border_colour, centre_colour
from embedded import Calls, finish
from octabox.catalog.pipelines import load_catalog
from octabox.engine.local import LocalEngine
from octabox.engine.worker.schedulers import fresh
from octabox.errors import InvalidParameterError, MissingDependencyError, OctaboxError, UnknownParameterError
from octabox.types import SchedulerChoice

#: Schedulers that can be told how the model was trained.
FITTING = (
    "DDIMScheduler",
    "DDPMScheduler",
    "DEISMultistepScheduler",
    "DPMSolverMultistepScheduler",
    "DPMSolverSinglestepScheduler",
    "EulerAncestralDiscreteScheduler",
    "EulerDiscreteScheduler",
    "HeunDiscreteScheduler",
    "KDPM2AncestralDiscreteScheduler",
    "KDPM2DiscreteScheduler",
    "LCMScheduler",
    "PNDMScheduler",
    "SASolverScheduler",
    "TCDScheduler",
    "UniPCMultistepScheduler",
)

#: Schedulers that would make noise, or something else than was asked for, without a word.
REFUSED = (
    "CMStochasticIterativeScheduler",
    "DDIMInverseScheduler",
    "DPMSolverMultistepInverseScheduler",
    "EDMDPMSolverMultistepScheduler",
    "EDMEulerScheduler",
    "FlowMatchEulerDiscreteScheduler",
    "FlowMatchHeunDiscreteScheduler",
    "IPNDMScheduler",
)


async def colours(engine: LocalEngine, calls: Calls, choice: SchedulerChoice) -> tuple[str, str]:
    """Return the colours of centre and border of a picture by this scheduler."""
    generation = await finish(engine, calls(scheduler=choice, num_inference_steps=20, seeds=(3,)))
    picture = Image.open(io.BytesIO(generation.artifacts[0].content))
    return centre_colour(picture), border_colour(picture)


@pytest.mark.parametrize("name", FITTING)
async def test_a_scheduler_that_fits_makes_the_picture(engine: LocalEngine, calls: Calls, name: str) -> None:
    """The picture has the colours of its prompt after 20 steps."""
    assert ("red", "blue") == await colours(engine, calls, SchedulerChoice(name))


@pytest.mark.parametrize("name", ["DPMSolverMultistepScheduler", "EulerDiscreteScheduler", "UniPCMultistepScheduler"])
async def test_karras_sigmas_make_it_too(engine: LocalEngine, calls: Calls, name: str) -> None:
    """A setting of the constructor is honoured, and the picture is still right."""
    assert ("red", "blue") == await colours(engine, calls, SchedulerChoice(name, {"use_karras_sigmas": True}))


@pytest.mark.parametrize("name", REFUSED)
async def test_a_scheduler_that_cannot_work_is_refused(engine: LocalEngine, calls: Calls, name: str) -> None:
    """A pair that would silently make noise is refused with the reason, told from the configurations."""
    with pytest.raises(InvalidParameterError, match=f"{name} does not fit this model: ") as caught:
        await finish(engine, calls(scheduler=SchedulerChoice(name)))

    assert "DDIMScheduler" in caught.value.hint


@pytest.mark.parametrize("name", ["EulerDiscreteScheduler", "DPMSolverMultistepScheduler", "DDIMScheduler"])
def test_a_flow_keeps_what_it_was_trained_with(name: str) -> None:
    """A scheduler that cannot be told of a flow is refused, or is told of it; LocalAI swaps it and says nothing (L11)."""
    own = diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0)

    with pytest.raises(InvalidParameterError, match="'shift', which the model was trained with"):
        fresh(own, dict(own.config), SchedulerChoice(name))


async def test_every_scheduler_is_served_or_refused(engine: LocalEngine, calls: Calls) -> None:
    """None of diffusers' schedulers ends in anything but a picture or a typed error, and the worker outlives them all."""
    outcomes: dict[str, str] = {}
    for name in load_catalog().schedulers:
        try:
            await finish(engine, calls(scheduler=SchedulerChoice(name), num_inference_steps=3))
            outcomes[name] = "served"
        except (InvalidParameterError, UnknownParameterError, MissingDependencyError):
            outcomes[name] = "refused"
        except OctaboxError as error:
            outcomes[name] = f"{type(error).__name__}: {error}"

    assert {"served", "refused"} == set(outcomes.values()), outcomes
    assert set(REFUSED) <= {name for name, outcome in outcomes.items() if outcome == "refused"}
