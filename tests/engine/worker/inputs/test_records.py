"""Instances of dataclasses, such as frame conditions, are built for a call."""

from __future__ import annotations

from typing import Any

import pytest
from diffusers.pipelines.ltx2.pipeline_ltx2_condition import LTX2VideoCondition
from PIL import Image

import makers
from makers import samples
from octabox.catalog.pipelines import load_catalog
from octabox.engine.protocol import Run
from octabox.engine.worker.inputs.arguments import call_arguments
from octabox.media.video import Video


def arguments(pipe: Any, params: dict[str, Any], **media: Any) -> dict[str, Any]:
    """Return the arguments for a pipeline; ``__`` in names of media is a dot."""
    inputs = {name.replace("__", "."): (each,) for name, each in media.items()}
    return call_arguments(pipe, load_catalog().pipelines[type(pipe).__name__], Run(params, inputs, 0))


@pytest.mark.parametrize("name", ["LTX2ConditionPipeline", "LTX2InContextPipeline"])
def test_frames_condition_a_video(name: str) -> None:
    """An image is an image, a video the list of its frames, and the pipeline takes both."""
    tiny = makers.pipelines()[name]
    pipe = tiny.make()
    clip = samples.sample_video(32, 32, 9)
    still = Video(clip.frames[:1], is_timed=False)
    params = {**tiny.params, "conditions": [{"index": 0, "strength": 0.5}, {"index": 1}]}
    found = arguments(pipe, params, conditions__0__frames=still, conditions__1__frames=clip)

    first, second = found["conditions"]
    assert isinstance(first, LTX2VideoCondition)
    assert isinstance(first.frames, Image.Image)
    assert (0, 0.5) == (first.index, first.strength)
    assert (9, 1, 1.0) == (len(second.frames), second.index, second.strength)
    assert not [each for each in found if "." in each]
    single = arguments(pipe, {**tiny.params, "conditions": {}}, conditions__0__frames=still)
    assert isinstance(single["conditions"], LTX2VideoCondition)
    assert len(pipe(**single).frames)


def test_without_objects() -> None:
    """Nothing is built, and null stays."""
    pipe = makers.pipelines()["LTX2ConditionPipeline"].make()

    assert "conditions" not in arguments(pipe, {"prompt": "a bird"})
    assert arguments(pipe, {"prompt": "a bird", "conditions": None})["conditions"] is None


def test_a_list_of_one_stays_a_list() -> None:
    """The client's form of the value is kept."""
    pipe = makers.pipelines()["LTX2ConditionPipeline"].make()
    still = Video((samples.sample_image(32, 32),), is_timed=False)

    assert 1 == len(arguments(pipe, {"conditions": [{}]}, conditions__0__frames=still)["conditions"])
