"""How much one request may ask for."""

from __future__ import annotations

import re
from typing import Any

import pytest

from octabox.catalog.entries import PipelineEntry
from octabox.catalog.pipelines import load_catalog
from octabox.errors import InvalidParameterError
from octabox.service.bounds import Limits, check_amounts, check_bounds, check_texts
from octabox.service.selection.inputs import FRAMES, SECONDS
from octabox.types import GenerationRequest, SchedulerChoice

DEEP: Any = {"a": 1}
for _ in range(900):
    DEEP = {"a": DEEP}


@pytest.mark.parametrize(
    "fields",
    [
        {"params": {"cross_attention_kwargs": DEEP}},
        {"optional_params": {"cross_attention_kwargs": DEEP}},
        {"inputs": {"latents": ([[DEEP]],)}},
        {"workflow": {"hires": DEEP}},
        {"scheduler": SchedulerChoice("euler", {"sigmas": DEEP})},
    ],
)
def test_no_part_of_a_request_is_nested_without_end(fields: Any) -> None:
    """Whatever part of a request holds it: 900 levels are refused before they reach a queue, which could not write them."""
    with pytest.raises(InvalidParameterError, match="nested"):
        check_bounds(GenerationRequest("demo", **fields))


@pytest.mark.parametrize(
    "name",
    [
        "num_inference_steps",
        "prior_num_inference_steps",
        "pyramid_num_inference_steps_list",
        "original_inference_steps",
        "steps",
    ],
)
@pytest.mark.parametrize("value", [0, -1, 101])
def test_steps_are_bounded(name: str, value: int) -> None:
    """Every parameter that counts steps, and each stage of a list, is from 1 to the limit."""
    check_amounts({name: 100}, Limits(steps=100))

    for given in (value, [4, value]):
        with pytest.raises(InvalidParameterError, match="from 1 to 100") as caught:
            check_amounts({name: given}, Limits(steps=100))
        assert name == caught.value.parameter


@pytest.mark.parametrize("name", ["timesteps", "sigmas", "prior_timesteps", "decoder_timesteps"])
def test_steps_that_are_listed_are_bounded(name: str) -> None:
    """A list has one step for each number, and that of each stage has the limit."""
    for allowed in (None, [0.5] * 100, [[0.5] * 100] * 3, 5):
        check_amounts({name: allowed}, Limits(steps=100))
    for given in ([0.5] * 101, [[1], [0.5] * 101]):
        with pytest.raises(InvalidParameterError, match=f"'{name}' must have at most 100 numbers, not 101") as caught:
            check_amounts({name: given}, Limits(steps=100))
        assert name == caught.value.parameter


@pytest.mark.parametrize("entry", load_catalog().pipelines.values(), ids=lambda entry: entry.name)
def test_whatever_multiplies_the_memory_of_a_call_is_bounded(entry: PipelineEntry) -> None:
    """The tokens of a text, and what the documentation of a class calls a number of something, have a limit."""
    for parameter in entry.parameters:
        counted = parameter.kind == "integer" and re.match("(the )?number of", parameter.description.lower())
        if counted or parameter.name == "max_sequence_length":
            default = parameter.default if isinstance(parameter.default, int) else 1
            check_amounts({parameter.name: max(default, 1)}, Limits(steps=2000), entry)
            with pytest.raises(InvalidParameterError) as caught:
                check_amounts({parameter.name: 1_000_000_000}, Limits(), entry)
            assert parameter.name == caught.value.parameter


@pytest.mark.parametrize(
    "name", ["max_sequence_length", "max_text_length", "tokenizer_max_length", "gen_length", "prompt_max_new_tokens"]
)
def test_tokens_are_bounded(name: str) -> None:
    """Many pipelines pad a prompt to their number, so that it takes memory for each before the model is called."""
    check_amounts({name: 8192}, Limits())

    with pytest.raises(InvalidParameterError, match=f"'{name}' must be at most 8192, not 8193"):
        check_amounts({name: 8193}, Limits())


@pytest.mark.parametrize("entry", load_catalog().pipelines.values(), ids=lambda entry: entry.name)
def test_the_frames_of_each_pipeline_are_bounded(entry: PipelineEntry) -> None:
    """Whatever a class calls the number of frames of its video, it has the limit."""
    if entry.frames is None:
        return
    name = entry.frames.name
    check_amounts({name: 2048}, Limits(), entry)
    with pytest.raises(InvalidParameterError, match=f"'{name}' must be from 1 to 2048, not 2049") as caught:
        check_amounts({name: 2049}, Limits(), entry)

    assert name == caught.value.parameter


@pytest.mark.parametrize("name", [*FRAMES, "base_num_frames", "num_frames_per_chunk"])
def test_every_name_for_frames_is_bounded(name: str) -> None:
    """The limit is that of every name for a number of frames, of a video or of a part of it."""
    with pytest.raises(InvalidParameterError, match=f"'{name}' must be from 1 to 2048"):
        check_amounts({name: 1_000_000}, Limits())


@pytest.mark.parametrize("name", [*SECONDS, "max_seconds", "silence_padding_duration", "mask_end_secs"])
def test_seconds_are_bounded(name: str) -> None:
    """Generated audio is no longer than audio that is read; 0 and less are for the pipeline to say."""
    for allowed in (0, -1, 600, 600.0, None):
        check_amounts({name: allowed}, Limits())
    with pytest.raises(InvalidParameterError, match=f"'{name}' must be at most 600, not 1000000000.0") as caught:
        check_amounts({name: 1e9}, Limits())

    assert name == caught.value.parameter


def test_each_length_of_audio_in_the_catalog_is_bounded() -> None:
    """Each parameter of an audio pipeline that its documentation counts in seconds has the limit."""
    entries = [each for each in load_catalog().pipelines.values() if each.output_kind == "audio"]
    names = {
        each.name
        for entry in entries
        for each in entry.parameters
        if each.kind in ("integer", "number") and re.search(r"(length|duration) .*in seconds", each.description.lower())
    }

    assert names
    for name in names:
        with pytest.raises(InvalidParameterError):
            check_amounts({name: 1e9}, Limits())


@pytest.mark.parametrize(
    ("params", "named"),
    [
        ({"height": 60_000_000}, "height"),
        ({"width": 8193}, "width"),
        ({"width": 8193, "height": None}, "width"),
        ({"width": 8192, "height": 8193}, "width"),
        ({"upsampling_width": 60_000_000, "upsampling_height": 2}, "upsampling_width"),
        ({"resolution": 8193}, "resolution"),
        ({"output_resolution": 8193}, "output_resolution"),
        ({"max_input_image_size": 8193}, "max_input_image_size"),
        ({"frame_size": 8193}, "frame_size"),
        ({"max_area": 8192 * 8192 + 1}, "max_area"),
        ({"batch_size": 11}, "batch_size"),
        ({"num_images_per_prompt": 11}, "num_images_per_prompt"),
        ({"num_prompts_per_image": 11}, "num_prompts_per_image"),
    ],
)
def test_sizes_are_bounded(params: dict[str, Any], named: str) -> None:
    """A side without the other, the side of a square and an area have the limit of an image's pixels."""
    with pytest.raises(InvalidParameterError) as caught:
        check_amounts(params, Limits())

    assert named == caught.value.parameter
    assert "raise" in caught.value.hint


@pytest.mark.parametrize(
    "params",
    [
        {"width": 8192},
        {"width": 8192, "height": 8192},
        {"height": 16384, "width": 4096},
        {"resolution": 1024, "max_area": 1024**2, "batch_size": 10},
        {"match_input_resolution": True, "processing_resolution": 0},
    ],
)
def test_sizes_within_the_limit(params: dict[str, Any]) -> None:
    """What has no more pixels than the limit is accepted, whatever its form."""
    check_amounts(params, Limits())


def test_a_scale_of_both_sides_is_bounded() -> None:
    """It multiplies the pixels of a medium by its square."""
    check_amounts({"resolution_scale": 2.25}, Limits())
    with pytest.raises(InvalidParameterError, match="'resolution_scale' must be at most 16, not 1000"):
        check_amounts({"resolution_scale": 1000}, Limits())


def test_the_default_of_a_pipeline_is_the_other_side() -> None:
    """A side alone has the other side that the class states."""
    entry = load_catalog().pipeline("CosmosTextToWorldPipeline")
    parameter = entry.parameter("width")
    assert parameter is not None
    side = parameter.default
    limit = Limits(pixels=side * 100)
    check_amounts({"height": 100}, limit, entry)

    with pytest.raises(InvalidParameterError, match=f"An image of {side}x101") as caught:
        check_amounts({"height": 101}, limit, entry)
    assert "height" == caught.value.parameter


def test_what_is_not_asked_for_is_not_counted() -> None:
    """None leaves a count to the pipeline, and a size may have one side."""
    check_amounts({"num_inference_steps": None, "num_frames": None, "width": 64}, Limits())


def test_long_texts_are_refused_before_a_model_reads_them() -> None:
    """A prompt of megabytes never reaches the process of a model."""
    with pytest.raises(InvalidParameterError, match="prompt"):
        check_texts({"prompt": ["x" * 200_000]})
