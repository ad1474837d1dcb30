"""What may be said of a workflow."""

from typing import Any

import pytest

from octabox.errors import InvalidParameterError, InvalidRequestError, UnknownParameterError
from octabox.service.workflows.settings import parse_workflow


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({}, {}),
        ({"hires": None}, {}),
        ({"hires": 2}, {"hires": {"upscaler": "lanczos", "scale": 2.0, "strength": 0.5}}),
        ({"hires": {}}, {"hires": {"upscaler": "lanczos", "scale": 2.0, "strength": 0.5}}),
        ({"hires": {"upscaler": "latent"}}, {"hires": {"upscaler": "latent", "scale": 2.0, "strength": 0.7}}),
        ({"hires": {"width": 64, "scale": None}}, {"hires": {"upscaler": "lanczos", "width": 64, "strength": 0.5}}),
        (
            {"hires": {"width": 64, "height": 32}},
            {"hires": {"upscaler": "lanczos", "width": 64, "height": 32, "crop": False, "strength": 0.5}},
        ),
        (
            {"upscale": {"width": 64, "height": 32, "crop": True}},
            {"upscale": {"upscaler": "lanczos", "width": 64, "height": 32, "crop": True}},
        ),
        ({"hires": {"upscaler": "mine"}}, {"hires": {"upscaler": "mine", "scale": 2.0, "strength": 0.5}}),
        ({"upscale": 4}, {"upscale": {"upscaler": "lanczos", "scale": 4.0}}),
        ({"upscale": True}, {"upscale": {"upscaler": "lanczos", "scale": 2.0}}),
        ({"upscale": {"upscaler": "mine"}}, {"upscale": {"upscaler": "mine"}}),
        ({"outpaint": 8}, {"outpaint": {"left": 8, "top": 8, "right": 8, "bottom": 8, "mask_blur": 8}}),
        (
            {"inpaint": {}},
            {"inpaint": {"area": "masked", "padding": 32, "mask_blur": 4, "fill": "original", "invert": False}},
        ),
        (
            {"inpaint": {"area": "whole"}},
            {"inpaint": {"area": "whole", "mask_blur": 4, "fill": "original", "invert": False}},
        ),
        ({"variation": {"seed": 3}}, {}),
    ],
)
def test_what_is_left_out(given: dict[str, Any], told: dict[str, Any]) -> None:
    """A number stands for what matters most, and what holds besides is told, so that it can be done again."""
    assert told == parse_workflow(given).to_metadata()


def test_what_is_told_means_the_same() -> None:
    """Metadata of a workflow are a workflow."""
    workflow = parse_workflow({"hires": {"steps": 3, "params": {"guidance_scale": 2}}, "inpaint": 5, "upscale": 2})

    assert workflow == parse_workflow(workflow.to_metadata())


@pytest.mark.parametrize(
    ("given", "parameter", "words"),
    [
        ({"hires": {"scale": float("nan")}}, "workflow.hires.scale", "finite"),
        ({"hires": {"scale": -1}}, "workflow.hires.scale", "0"),
        ({"hires": {"scale": True}}, "workflow.hires.scale", "number"),
        ({"hires": {"scale": "2"}}, "workflow.hires.scale", "number"),
        ({"hires": {"scale": 2, "width": 64}}, "workflow.hires", "not both"),
        ({"hires": {"width": 64, "crop": True}}, "workflow.hires", "give both"),
        ({"upscale": {"scale": 2, "crop": True}}, "workflow.upscale", "give both"),
        ({"hires": {"strength": 0}}, "workflow.hires.strength", "0"),
        ({"hires": {"steps": 1e9}}, "workflow.hires.steps", "whole"),
        ({"hires": "twice"}, "workflow.hires", "mapping"),
        ({"hires": [2]}, "workflow.hires", "mapping"),
        ({"variation": 1.5}, "workflow.variation.strength", "1"),
        ({"variation": {"seed": -1}}, "workflow.variation.seed", "0"),
        ({"outpaint": 0}, "workflow.outpaint", "adds nothing"),
        ({"outpaint": {}}, "workflow.outpaint", "adds nothing"),
        ({"outpaint": {"left": 10**6}}, "workflow.outpaint.left", "16384"),
        ({"inpaint": {"area": "all"}}, "workflow.inpaint.area", "masked"),
        ({"inpaint": {"area": "whole", "padding": 8}}, "workflow.inpaint", "padding"),
        ({"upscale": {"params": {"tile": 8}}}, "workflow.upscale", "params"),
        ({"inpaint": {}, "outpaint": 8}, "workflow", "not both"),
    ],
)
def test_values_that_are_refused(given: dict[str, Any], parameter: str, words: str) -> None:
    """The error names the setting, and what it must be."""
    with pytest.raises(InvalidParameterError, match=words) as caught:
        parse_workflow(given)

    assert parameter == caught.value.parameter


@pytest.mark.parametrize(
    ("given", "parameter", "like"),
    [
        ({"hire": 2}, "workflow.hire", "hires"),
        ({"upscale": {"upscalr": "x"}}, "workflow.upscale.upscalr", "upscaler"),
        ({"variation": {"stren": 1}}, "workflow.variation.stren", "strength"),
    ],
)
def test_names_that_there_are_not(given: dict[str, Any], parameter: str, like: str) -> None:
    """The error names the nearest."""
    with pytest.raises(UnknownParameterError, match=f"Did you mean {like}") as caught:
        parse_workflow(given)

    assert parameter == caught.value.parameter


def test_all_that_is_wrong_is_named_at_once() -> None:
    """One answer is enough to mend a request."""
    with pytest.raises(InvalidRequestError) as caught:
        parse_workflow({"hires": {"scale": 0, "x": 1}, "upscale": "y"})

    found = {problem.parameter for problem in caught.value.problems}
    assert {"workflow.hires.scale", "workflow.hires.x", "workflow.upscale"} == found
