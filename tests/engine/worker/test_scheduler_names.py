"""Every scheduler that people name, on the embedded model: its image has the colours of the prompt, or it is refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from diffusers import StableDiffusionPipeline
from PIL import Image

from calling import call, run
from demo_pictures import border_colour, centre_colour
from octabox import demo
from octabox.catalog.pipelines import load_catalog
from octabox.config.model import ModelConfig
from octabox.engine.worker.loading.models import LoadedModel
from octabox.engine.worker.runner import Runner
from octabox.errors import OctaboxError
from octabox.service.bounds import Limits
from octabox.service.planning import plan_request
from octabox.service.served_model import ServedModel
from octabox.types import GenerationRequest, SchedulerChoice
from scheduler_names import INVOKE, LOCALAI, REFUSED, SDNEXT, WEB_UI

#: What numpy and torchsde say of diffusers' own ways; a worker would log it.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Should have ta>=t0:UserWarning"),
]

PIPELINE = "StableDiffusionPipeline"
PARAMS = {"prompt": "a red circle on a blue background", "num_inference_steps": 20, "guidance_scale": 3.0}

#: Schedulers of diffusers that can be told how the embedded model was trained; all others cannot.
FITTING = (
    *("DDIMParallelScheduler", "DDIMScheduler", "DDPMParallelScheduler", "DDPMScheduler", "DEISMultistepScheduler"),
    *("DPMSolverMultistepScheduler", "DPMSolverSDEScheduler", "DPMSolverSinglestepScheduler"),
    *("EulerAncestralDiscreteScheduler", "EulerDiscreteScheduler", "HeunDiscreteScheduler"),
    *("KDPM2AncestralDiscreteScheduler", "KDPM2DiscreteScheduler", "LCMScheduler", "LMSDiscreteScheduler"),
    *("PNDMScheduler", "SASolverScheduler", "TCDScheduler", "UniPCMultistepScheduler"),
)


class Painter:
    """Makes images with the embedded model, one for each scheduler that differs."""

    def __init__(self) -> None:
        pipe = StableDiffusionPipeline.from_pretrained(demo.FOLDER)
        pipe.set_progress_bar_config(disable=True)
        self.runner = Runner(LoadedModel(pipe, "cpu"))
        self.seen: dict[str, tuple[str, str]] = {}

    def colours(self, name: str, settings: Mapping[str, Any] | None = None) -> tuple[str, str]:
        """Return the colours of centre and border of an image by the scheduler of this name."""
        choice = planned(name, settings or {})
        key = repr((choice.name, sorted(choice.settings.items()), choice.timesteps))
        if key not in self.seen:
            done = run(self.runner, call(PIPELINE, PARAMS, seeds=(3,), scheduler=choice))
            image = done.outputs[0][0].value
            assert isinstance(image, Image.Image)
            self.seen[key] = centre_colour(image), border_colour(image)
        return self.seen[key]


def planned(name: str, settings: Mapping[str, Any]) -> SchedulerChoice:
    """Return the scheduler that a request by this name comes to."""
    catalog = load_catalog()
    model = ServedModel(ModelConfig(name=demo.NAME, model=str(demo.FOLDER)), catalog.pipelines[PIPELINE])
    request = GenerationRequest(model=demo.NAME, params=PARAMS, scheduler=SchedulerChoice(name, settings))
    choice = plan_request(request, model, catalog, Limits()).scheduler
    assert choice is not None
    return choice


@pytest.fixture(scope="module")
def painter() -> Painter:
    """Return the embedded model in this process."""
    torch.set_num_threads(1)
    return Painter()


@pytest.mark.parametrize("name", [*LOCALAI, *WEB_UI, *SDNEXT, *INVOKE])
def test_a_name_of_another_program_makes_the_image(painter: Painter, name: str) -> None:
    """The image has the colours of its prompt after 20 steps."""
    assert ("red", "blue") == painter.colours(name)


@pytest.mark.parametrize("name", FITTING)
def test_a_class_that_fits_makes_the_image(painter: Painter, name: str) -> None:
    """By its class name too."""
    assert ("red", "blue") == painter.colours(name)


@pytest.mark.parametrize(("name", "reason"), REFUSED.items())
def test_a_name_that_cannot_be_honoured_says_why(painter: Painter, name: str, reason: str) -> None:
    """No other scheduler is taken in its place, and no noise is made."""
    with pytest.raises(OctaboxError) as caught:
        painter.colours(name)

    assert reason in caught.value.message


@pytest.mark.parametrize("name", sorted(set(load_catalog().schedulers) - set(FITTING)))
def test_a_class_that_does_not_fit_is_refused(painter: Painter, name: str) -> None:
    """With the reason, told from the configurations, and the model's own scheduler."""
    with pytest.raises(OctaboxError, match=f"{name} does not fit this model: ") as caught:
        painter.colours(name)

    assert "DDIMScheduler" in caught.value.hint


def test_settings_of_a_request_are_honoured(painter: Painter) -> None:
    """A setting beside the name is told to the constructor; the image is another, and still right."""
    plain = painter.colours("dpmpp_2m", {"use_lu_lambdas": True})

    assert ("red", "blue") == plain
    assert planned("dpmpp_2m", {"use_lu_lambdas": True}).settings["use_lu_lambdas"]
