"""As many images and numbers as there are components, and spans that end after they begin."""

from __future__ import annotations

from typing import Any

import pytest

from octabox.catalog.pipelines import load_catalog
from octabox.config.model import ModelConfig
from octabox.errors import InvalidRequestError, RequestError
from octabox.service.bounds import Limits
from octabox.service.planning import Plan, plan_request
from octabox.service.served_model import ServedModel
from octabox.types import GenerationRequest

SCALE, START, END = "controlnet_conditioning_scale", "control_guidance_start", "control_guidance_end"


def planned(
    count: int, images: Any, own: str = "StableDiffusionPipeline", name: str = "controlnet", **params: Any
) -> Plan:
    """Return the plan of a request to a model with so many components of a name; one is none in a list."""
    parts: Any = [{"model": f"net{each}"} for each in range(count)]
    fields = {"name": "thing", "model": "somewhere", "components": {name: parts if count > 1 else parts[0]}}
    served = ServedModel(ModelConfig.model_validate(fields), load_catalog().pipeline(own))
    request = GenerationRequest(model="thing", params={"prompt": "x", "image": images, **params})
    return plan_request(request, served, load_catalog(), Limits())


def refused(count: int, images: Any, **params: Any) -> RequestError:
    """Return the error for a request."""
    with pytest.raises(RequestError) as caught:
        planned(count, images, **params)
    return caught.value


@pytest.mark.parametrize(
    "params", [{}, {SCALE: 1}, {SCALE: [0.5, 1]}, {START: [0, 0.5], END: [0.5, 1.0]}, {START: 0.2, END: [0.5, 1]}]
)
def test_one_for_each_or_one_number_for_all(params: dict[str, Any]) -> None:
    """Two images for two ControlNets; numbers are given once, or twice."""
    found = planned(2, [b"one", b"two"], **params)

    assert "StableDiffusionControlNetPipeline" == found.pipeline.name
    assert params.items() <= found.runs[0][0].items()


@pytest.mark.parametrize(
    ("count", "images", "params", "parameter", "said"),
    [
        (2, b"one", {}, "image", "is 1 image, and this model has 2 components 'controlnet'"),
        (2, [b"one", b"two", b"three"], {}, "image", "is 3 images"),
        (1, [b"one", b"two"], {}, "image", "one component 'controlnet'"),
        (2, [b"one", b"two"], {SCALE: [1]}, SCALE, "has 1 number, and this model has 2"),
        (2, [b"one", b"two"], {SCALE: [1, 1, 1]}, SCALE, "Give one number for all, or a list of 2"),
        (1, b"one", {SCALE: [1, 1]}, SCALE, "Give one number"),
        (1, b"one", {END: [1, 0.5]}, END, "has 2 numbers"),
        (1, b"one", {START: 0.5, END: 0.5}, START, "must be less than"),
        (2, [b"one", b"two"], {START: [0, 0.7], END: 0.6}, START, "0.7 is not less than 0.6"),
        (1, b"one", {END: 0}, START, "Set the scale to 0"),
        (1, b"one", {START: -0.1}, START, "from 0 to 1, not -0.1"),
        (1, b"one", {END: 1.5}, END, "from 0 to 1, not 1.5"),
        (1, b"one", {SCALE: float("nan")}, SCALE, "finite"),
        (2, [b"one", None], {}, "image", "must be an image"),
    ],
)
def test_what_does_not_fit_is_named(count: int, images: Any, params: dict[str, Any], parameter: str, said: str) -> None:
    """The error is about the parameter, says how many there are, and what to give."""
    error = refused(count, images, **params)

    assert parameter == error.parameter
    assert said in str(error)


def test_all_that_is_wrong_is_named_at_once() -> None:
    """An image too few and a number too many are two problems."""
    error = refused(2, b"one", **{SCALE: [1, 2, 3]})

    assert isinstance(error, InvalidRequestError)
    assert ["image", SCALE] == [each.parameter for each in error.problems]


def test_one_component_with_modes_may_be_shown_several() -> None:
    """Where numbers say what each image is, one ControlNet may take several of them."""
    own, images = "StableDiffusionXLPipeline", {"control_image": [b"one", b"two"], "control_mode": [0, 1]}
    parts = {"controlnet": {"model": "union"}}
    config = ModelConfig.model_validate({"name": "thing", "model": "somewhere", "components": parts})
    request = GenerationRequest(model="thing", params={"prompt": "x", **images})
    found = plan_request(request, ServedModel(config, load_catalog().pipeline(own)), load_catalog(), Limits())

    assert "StableDiffusionXLControlNetUnionPipeline" == found.pipeline.name


def test_a_list_of_one_may_be_shown_several() -> None:
    """Whether its class can do that, the class says."""
    config = {"name": "thing", "model": "somewhere", "components": {"controlnet": [{"model": "union"}]}}
    served = ServedModel(ModelConfig.model_validate(config), load_catalog().pipeline("QwenImagePipeline"))
    params = {"prompt": "x", "control_image": [b"one", b"two"], SCALE: [1, 0.5]}
    found = plan_request(GenerationRequest(model="thing", params=params), served, load_catalog(), Limits())

    assert "QwenImageControlNetPipeline" == found.pipeline.name


def test_other_lists_of_components_count_too() -> None:
    """A T2I-Adapter is steered as a ControlNet is."""
    with pytest.raises(RequestError) as caught:
        planned(2, [b"one", b"two"], name="adapter", adapter_conditioning_scale=[1.0, 1.0, 1.0])

    assert "adapter_conditioning_scale" == caught.value.parameter
