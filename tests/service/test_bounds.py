"""How much one request may ask for."""

from __future__ import annotations

from typing import Any

import pytest

from octabox.errors import InvalidParameterError
from octabox.service.bounds import Limits, check_amounts, check_bounds, check_texts
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
    "name", ["num_inference_steps", "prior_num_inference_steps", "pyramid_num_inference_steps_list"]
)
@pytest.mark.parametrize("value", [0, -1, 101])
def test_steps_are_bounded(name: str, value: int) -> None:
    """Every parameter that counts steps, and each stage of a list, is from 1 to the limit."""
    check_amounts({name: 100}, Limits(steps=100))

    for given in (value, [4, value]):
        with pytest.raises(InvalidParameterError, match="from 1 to 100") as caught:
            check_amounts({name: given}, Limits(steps=100))
        assert name == caught.value.parameter


def test_what_is_not_asked_for_is_not_counted() -> None:
    """None leaves a count to the pipeline, and a size may have one side."""
    check_amounts({"num_inference_steps": None, "num_frames": None, "width": 64}, Limits())


def test_long_texts_are_refused_before_a_model_reads_them() -> None:
    """A prompt of megabytes never reaches the process of a model."""
    with pytest.raises(InvalidParameterError, match="prompt"):
        check_texts({"prompt": ["x" * 200_000]})
