"""Which parameter of a pipeline an input is for."""

from __future__ import annotations

import pytest

from octabox.catalog.entries import Component, Parameter, PipelineEntry
from octabox.catalog.pipelines import load_catalog
from octabox.config.model import ModelConfig
from octabox.errors import InvalidParameterError, TaskNotFoundError
from octabox.service.selection.inputs import (
    InputBindings,
    bind_image_to_image,
    bindings_for,
    input_parameter,
    last_image_parameter,
    number_parameter,
    source_parameter,
)
from octabox.service.served_model import ServedModel


def entry(*parameters: Parameter, **fields: object) -> PipelineEntry:
    """Return a pipeline with these parameters."""
    return PipelineEntry("MadeUpPipeline", "made.up", "made", parameters=parameters, **fields)  # type: ignore[arg-type]


def image(name: str, *, required: bool = False, many: bool = False) -> Parameter:
    """Return a parameter for an image."""
    return Parameter(name, "", "image", required=required, many=many)


@pytest.mark.parametrize(
    ("parameters", "many", "expected"),
    [
        ([image("other"), image("image")], False, "image"),
        ([image("image"), image("other", required=True)], False, "other"),
        ([image("image"), image("images", many=True)], True, "images"),
        ([image("images", many=True), image("image")], False, "image"),
        ([image("control_image"), image("picture")], False, "picture"),
        ([image("pose"), image("reference_pose")], False, "reference_pose"),
        ([image("ip_adapter_image"), image("picture")], False, "picture"),
        ([image("last_image"), image("picture")], False, "picture"),
        ([image("ip_adapter_image")], False, None),
        ([image("last_image")], False, None),
    ],
)
def test_inputs_are_ranked(parameters: list[Parameter], many: bool, expected: str | None) -> None:
    """A list before a single one where there are several, required ones first, then the simplest name."""
    found = input_parameter(entry(*parameters), "image", many=many)

    assert expected == (found and found.name)


@pytest.mark.parametrize("name", ["last_image", "image_end", "tail", "final_frame"])
def test_the_last_image_is_found_by_its_name(name: str) -> None:
    """Pipelines spell it differently."""
    found = last_image_parameter(entry(image("image"), image(name)))

    assert found is not None
    assert name == found.name


def test_a_control_image_is_no_source() -> None:
    """A pipeline that takes control images alone transforms no image."""
    assert source_parameter(entry(image("control_image", required=True))) is None


def test_numbers_are_found_by_the_first_name_that_is_one() -> None:
    """Parameters of another kind do not count."""
    pipeline = entry(Parameter("frames", "", "integer"), Parameter("num_frames", "", "text"))

    assert "frames" == number_parameter(pipeline, "num_frames", "frames")
    assert number_parameter(pipeline, "num_frames") is None


def test_a_model_without_such_an_input_is_an_error() -> None:
    """It names the input of the request."""
    bindings = InputBindings("m", (entry(output_kind="image"),))

    with pytest.raises(InvalidParameterError, match="does not take a video") as caught:
        bindings.medium("video", "input_reference")
    assert "input_reference" == caught.value.parameter
    with pytest.raises(InvalidParameterError, match="last image"):
        bindings.last_image("end_image")
    with pytest.raises(TaskNotFoundError, match="does not make videos"):
        bindings.making("video")


def test_pipelines_that_use_extra_components_come_first() -> None:
    """A ControlNet of the configuration is there to be used."""
    config = ModelConfig.model_validate({"name": "m", "model": "m", "components": {"controlnet": {"model": "x"}}})
    model = ServedModel(config, load_catalog().pipelines["StableDiffusionPipeline"])
    first = bindings_for(model, load_catalog()).preferred

    assert Component("controlnet").name in {part.name for part in first.components}


def test_painting_over_an_image_takes_the_control_images_along() -> None:
    """Where a pipeline takes both; without control images it is the plain one."""
    config = ModelConfig.model_validate({"name": "m", "model": "m", "components": {"controlnet": {"model": "x"}}})
    model = ServedModel(config, load_catalog().pipelines["StableDiffusionPipeline"])
    controlled = bind_image_to_image(model, load_catalog(), {"control_image"})
    alone = bind_image_to_image(ServedModel(ModelConfig(name="m", model="m"), model.pipeline), load_catalog(), ())

    assert controlled is not None
    assert ("StableDiffusionControlNetImg2ImgPipeline", "image") == (controlled[0].name, controlled[1])
    assert alone is not None
    assert ("StableDiffusionImg2ImgPipeline", "image") == (alone[0].name, alone[1])
