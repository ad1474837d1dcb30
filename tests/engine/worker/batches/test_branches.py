"""What decides which branches a pipeline takes is described by kind, so that not each number has a verdict of its own."""

from __future__ import annotations

import json
from typing import Any

import pytest
from diffusers import FlowMatchEulerDiscreteScheduler
from diffusers.pipelines.deepfloyd_if import IFWatermarker

from octabox.catalog.pipelines import load_catalog
from octabox.engine.protocol import Run
from octabox.engine.worker.batches.branches import (
    describe_config,
    describe_params,
    describe_scheduler,
    describe_value,
    name_branches,
)
from octabox.types import SchedulerChoice

ENTRY = load_catalog().pipeline("StableDiffusionPipeline")


def described(**params: Any) -> dict[str, Any]:
    """Return the description of a run's parameters."""
    return describe_params(Run({"prompt": "a star", **params}), ENTRY)


@pytest.mark.parametrize(
    "params",
    [
        {"guidance_scale": 3.0},
        {"num_inference_steps": 4},
        {"prompt": "another text"},
        {"negative_prompt": None},
        {"eta": 0.0},
    ],
)
def test_other_numbers_and_defaults_take_the_same_branches(params: dict[str, Any]) -> None:
    """A size, a number of steps or a scale on the same side of 0 and 1 needs no further probe."""
    assert described() == described(**params)


@pytest.mark.parametrize(
    "params",
    [
        {"guidance_scale": 1.0},
        {"guidance_scale": 0.5},
        {"guidance_scale": 0},
        {"negative_prompt": "red"},
        {"negative_prompt": ""},
        {"clip_skip": 1},
        {"eta": 0.5},
        {"output_type": "latent"},
        {"cross_attention_kwargs": {"scale": 1.0}},
        {"timesteps": [999, 500]},
        {"prompt": ""},
        {"unknown": True},
    ],
)
def test_what_switches_branches_is_told_apart(params: dict[str, Any]) -> None:
    """Whether there is guidance, whether a value is given, flags and alternatives."""
    found = described(**params)

    assert described() != found == json.loads(json.dumps(found))
    assert {*params} <= {each.removeprefix("empty ") for each in name_branches(found, ENTRY)}


def test_lists_are_described_by_their_items() -> None:
    """However many there are, and in whatever order."""
    assert describe_value([2, 3.5, 0.1]) == describe_value([0.2, 7])
    assert describe_value([2]) != describe_value(["2"]) != describe_value([None])
    assert {"a": "text"} == describe_value({"a": "b"}, is_text=True)


def test_a_scheduler_is_described_by_its_configuration_and_the_request() -> None:
    """Its flags and the order of its solver, also those that only the step takes, but not each number."""
    plain = FlowMatchEulerDiscreteScheduler()
    base = describe_scheduler(plain, None)

    assert base == describe_scheduler(FlowMatchEulerDiscreteScheduler(shift=1.0), None)
    assert base != describe_scheduler(FlowMatchEulerDiscreteScheduler(stochastic_sampling=True), None)
    assert base != describe_scheduler(plain, SchedulerChoice("X", {"s_churn": 0.5}))
    assert describe_scheduler(plain, SchedulerChoice("X", {"solver_order": 2})) != describe_scheduler(
        plain, SchedulerChoice("X", {"solver_order": 3})
    )
    assert json.dumps(base)


def test_a_component_may_have_no_configuration() -> None:
    """Also one whose class could have one."""
    assert [{}, {}, {}] == [describe_config(each) for each in (IFWatermarker(), None, object())]
