"""Each scheduler name gives an image with the colours of the prompt on the embedded model, or is rejected."""

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

#: Deprecations of numpy, and warnings of torchsde, in diffusers.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Should have ta>=t0:UserWarning"),
]

PIPELINE = "StableDiffusionPipeline"
PARAMS = {"prompt": "a red circle on a blue background", "num_inference_steps": 20, "guidance_scale": 3.0}

#: Schedulers of diffusers that support the training of the embedded model.
FITTING = (
    *("DDIMParallelScheduler", "DDIMScheduler", "DDPMParallelScheduler", "DDPMScheduler", "DEISMultistepScheduler"),
    *("DPMSolverMultistepScheduler", "DPMSolverSDEScheduler", "DPMSolverSinglestepScheduler"),
    *("EulerAncestralDiscreteScheduler", "EulerDiscreteScheduler", "HeunDiscreteScheduler"),
    *("KDPM2AncestralDiscreteScheduler", "KDPM2DiscreteScheduler", "LCMScheduler", "LMSDiscreteScheduler"),
    *("PNDMScheduler", "SASolverScheduler", "TCDScheduler", "UniPCMultistepScheduler"),
)


class Painter:
    """Generates images with the embedded model, one for each different scheduler."""

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
    """Return the scheduler of a request with this name."""
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


NAMES = [*LOCALAI, *WEB_UI, *SDNEXT, *INVOKE]


@pytest.mark.parametrize("name", NAMES)
def test_names_are_those_of_compatible_classes(name: str) -> None:
    """Each is planned as a scheduler that supports the training of the model."""
    assert planned(name, {}).name in FITTING


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_names_of_other_programs(painter: Painter, name: str) -> None:
    """The image has the colours of its prompt after 20 steps."""
    assert ("red", "blue") == painter.colours(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", FITTING)
def test_compatible_classes(painter: Painter, name: str) -> None:
    """The image has the colours of its prompt with class names too."""
    assert ("red", "blue") == painter.colours(name)


@pytest.mark.parametrize(("name", "reason"), REFUSED.items())
def test_unsupported_names(painter: Painter, name: str, reason: str) -> None:
    """The error states the reason, and no other scheduler is used."""
    with pytest.raises(OctaboxError) as caught:
        painter.colours(name)

    assert reason in caught.value.message


@pytest.mark.parametrize("name", sorted(set(load_catalog().schedulers) - set(FITTING)))
def test_incompatible_classes(painter: Painter, name: str) -> None:
    """The error states the reason and the model's scheduler."""
    with pytest.raises(OctaboxError, match=f"{name} does not fit this model: ") as caught:
        painter.colours(name)

    assert "DDIMScheduler" in caught.value.hint


def test_settings_of_a_request(painter: Painter) -> None:
    """A setting is passed to the constructor, and gives another valid image."""
    plain = painter.colours("dpmpp_2m", {"use_lu_lambdas": True})

    assert ("red", "blue") == plain
    assert planned("dpmpp_2m", {"use_lu_lambdas": True}).settings["use_lu_lambdas"]
