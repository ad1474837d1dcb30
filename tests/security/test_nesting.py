"""Limits of a request's JSON."""

from __future__ import annotations

from typing import Any

import pytest

from octabox.errors import InvalidParameterError
from octabox.security.nesting import MAX_DEPTH, MAX_TEXT, MAX_VALUES, check_nesting, check_numbers, check_text


def nested(depth: int, *, objects: bool) -> Any:
    """Return nested lists or objects of a depth."""
    value: Any = 1
    for _ in range(depth):
        value = {"a": value} if objects else [value]
    return value


@pytest.mark.parametrize("objects", [True, False])
def test_nesting_has_a_bound(*, objects: bool) -> None:
    """The maximum depth is accepted; one level more is refused with the parameter, as is a very deep value."""
    check_nesting(nested(MAX_DEPTH, objects=objects), "scale")

    for depth in (MAX_DEPTH + 1, 900, 100_000):
        with pytest.raises(InvalidParameterError, match="'scale' is nested more than") as caught:
            check_nesting(nested(depth, objects=objects), "scale")
        assert "scale" == caught.value.parameter


def test_the_number_of_values_has_a_bound() -> None:
    """An array of the maximum size is accepted; the hint for a larger one is to send a file."""
    check_nesting([[0.0] * 1000] * (MAX_VALUES // 1000 - 2), "latents")

    with pytest.raises(InvalidParameterError, match=r"\.npy"):
        check_nesting([[0.0] * 1000] * (MAX_VALUES // 1000), "latents")


@pytest.mark.parametrize("wrap", [lambda text: text, lambda text: ["a", text], lambda text: {"a": [text]}])
def test_a_text_has_a_bound(wrap: Any) -> None:
    """A text of the maximum length is accepted at any depth; a longer one is refused."""
    check_text(wrap("x" * MAX_TEXT), "prompt")

    with pytest.raises(InvalidParameterError, match="'prompt' has 100001 characters"):
        check_text(wrap("x" * (MAX_TEXT + 1)), "prompt")


def test_an_object_has_few_fields() -> None:
    """An object with more fields than any pipeline has parameters is refused, at any depth."""
    with pytest.raises(InvalidParameterError, match="fields") as caught:
        check_nesting([{"a": {str(number): 1 for number in range(10_001)}}], "params")

    assert "params" == caught.value.parameter


@pytest.mark.parametrize("number", [10**400, -(10**400), float("inf"), float("nan")])
def test_a_number_is_finite(number: float) -> None:
    """A number that no float can hold is refused, wherever it is."""
    for value in (number, [1, [number]], {"a": {"b": number}}):
        with pytest.raises(InvalidParameterError, match="finite") as caught:
            check_numbers(value, "guidance_scale")
        assert "guidance_scale" == caught.value.parameter
    check_numbers([1, -1.5, "x", None, True, 10**300, 1e308], "guidance_scale")
