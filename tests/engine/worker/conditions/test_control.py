"""ControlNets and T2I-Adapters of the embedded model, alone and combined."""

from __future__ import annotations

import pytest
import torch

from control import OTHER, PARAMS, SCENE, differ, drawn, made, outline, runner
from demo_pictures import Scene
from octabox.catalog.pipelines import load_catalog
from octabox.engine.worker.conditions.control import control_arguments
from octabox.engine.worker.runner import Runner
from trained import EDGES, SKETCH, overlap

# The class for T2I-Adapters decodes in a way that diffusers itself deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:The decode_latents method:FutureWarning")

GUIDED, SKETCHED = "StableDiffusionControlNetPipeline", "StableDiffusionAdapterPipeline"
SCALE, START, END = "controlnet_conditioning_scale", "control_guidance_start", "control_guidance_end"
ADAPTED = "adapter_conditioning_scale"


@pytest.fixture(scope="module")
def one() -> Runner:
    """Return the embedded model with one ControlNet."""
    return runner(components={"controlnet": {"model": str(EDGES)}})


@pytest.fixture(scope="module")
def two() -> Runner:
    """Return it with the same ControlNet twice."""
    return runner(components={"controlnet": [{"model": str(EDGES)}, {"model": str(EDGES), "dtype": "float32"}]})


def shown(*scenes: Scene) -> dict[str, object]:
    """Return the images of a call."""
    return {"image": tuple(outline(scene) for scene in scenes)}


def test_a_strength_says_how_closely_the_outline_is_followed(one: Runner) -> None:
    """At scale 0 there is no effect; a larger scale follows the outline more closely."""
    plain = made(one)
    images = [made(one, GUIDED, shown(SCENE), **{SCALE: scale}) for scale in (0, 0.5, 1)]
    followed = [overlap(each, drawn()) for each in images]

    assert 0 == differ(plain, images[0])
    assert followed[0] < followed[1] < followed[2]
    assert followed[2] > 0.8
    assert 0 == differ(plain, made(one))


@pytest.mark.parametrize("span", [{END: 0.01}, {START: 0.99}, {START: 0.5, END: 0.51}])
def test_outside_of_its_part_of_the_steps_it_does_nothing(one: Runner, span: dict[str, float]) -> None:
    """A guidance range without a step has no effect."""
    assert 0 == differ(made(one), made(one, GUIDED, shown(SCENE), **span))


def test_the_first_steps_matter_most(one: Runner) -> None:
    """Where a shape is, is decided at the beginning."""
    early, late = (overlap(made(one, GUIDED, shown(SCENE), **span), drawn()) for span in ({END: 0.5}, {START: 0.75}))

    assert early > late + 0.2


def test_two_with_half_the_strength_are_as_one(one: Runner, two: Runner) -> None:
    """Two effects add up, and one of scale 0 has none."""
    alone = made(one, GUIDED, shown(SCENE), **{SCALE: 1})
    halves = made(two, GUIDED, shown(SCENE, SCENE), **{SCALE: [0.5, 0.5]})
    first = made(two, GUIDED, shown(SCENE, OTHER), **{SCALE: [1, 0]})

    assert differ(alone, halves) <= 2
    assert 0 == differ(alone, first)


def test_each_has_its_own_image_and_its_own_steps(two: Runner) -> None:
    """The image of the ControlNet with a scale is followed, whichever of the two it is."""
    for scales, scene, other in (([1, 0], SCENE, OTHER), ([0, 1], OTHER, SCENE)):
        image = made(two, GUIDED, shown(SCENE, OTHER), **{SCALE: scales})
        assert overlap(image, drawn(scene)) > 0.8 > overlap(image, drawn(other))
    spans = made(two, GUIDED, shown(SCENE, OTHER), **{START: [0, 0.98], END: [1, 0.99]})

    assert overlap(spans, drawn()) > 0.8


def test_one_number_is_for_both(two: Runner) -> None:
    """A single int or float holds for all components."""
    assert 0 == differ(
        made(two, GUIDED, shown(SCENE, SCENE), **{SCALE: 1}), made(two, GUIDED, shown(SCENE, SCENE), **{SCALE: [1, 1]})
    )


def test_a_list_of_one_is_one(one: Runner) -> None:
    """A configuration's list may have a single component."""
    listed = runner(components={"controlnet": [{"model": str(EDGES)}]})

    assert 0 == differ(made(one, GUIDED, shown(SCENE)), made(listed, GUIDED, shown(SCENE)))


def test_an_image_that_starts_a_call_is_another_than_those_that_steer(two: Runner) -> None:
    """Where a sibling takes both, each ControlNet has its own control image."""
    inputs = {"image": (drawn(OTHER),), "control_image": (outline(), outline(OTHER))}
    image = made(two, "StableDiffusionControlNetImg2ImgPipeline", inputs, strength=1.0, **{SCALE: [1, 0]})

    assert overlap(image, drawn()) > 0.8


def test_nothing_else_of_a_call_changes() -> None:
    """A pipeline without control components keeps its arguments."""
    pipe = torch.nn.Module()

    assert {} == control_arguments(pipe, load_catalog().pipeline("StableDiffusionPipeline"), PARAMS)


@pytest.fixture(scope="module")
def adapter() -> Runner:
    """Return the embedded model with one T2I-Adapter, which looks at grey images."""
    return runner(components={"adapter": {"model": str(SKETCH)}})


def test_an_adapter_is_followed_as_closely_as_its_strength_says(adapter: Runner) -> None:
    """A T2I-Adapter is loaded like a ControlNet; at scale 0 it has no effect, also after other calls."""
    plain = made(adapter)
    images = [made(adapter, SKETCHED, shown(SCENE), **{ADAPTED: scale}) for scale in (0, 0.5, 1)]
    followed = [overlap(each, drawn()) for each in images]

    assert 0 == differ(plain, images[0])
    assert followed[0] < followed[1] < followed[2]
    assert followed[2] > 0.7
    assert 0 == differ(plain, made(adapter))


def test_two_adapters_add_up() -> None:
    """Each has its own image and its own number; one number is for both."""
    two = runner(components={"adapter": [{"model": str(SKETCH)}, {"model": str(SKETCH)}]})
    alone = made(two, SKETCHED, shown(SCENE, OTHER), **{ADAPTED: [1, 0]})
    halves = made(two, SKETCHED, shown(SCENE, SCENE), **{ADAPTED: 0.5})

    assert overlap(alone, drawn()) > 0.7 > overlap(alone, drawn(OTHER))
    assert differ(alone, halves) <= 2


def test_the_size_of_the_image_is_that_of_the_result(adapter: Runner) -> None:
    """Where the call names no size; the control image is fitted to one that it names."""
    wide = {"image": (outline().resize((160, 96)),)}

    assert (160, 96) == made(adapter, SKETCHED, wide, num_inference_steps=1).size
    assert (128, 128) == made(adapter, SKETCHED, wide, num_inference_steps=1, width=128, height=128).size
