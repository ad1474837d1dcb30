"""What a request's JSON may hold."""

from __future__ import annotations

from typing import Any

import pytest

from octabox.errors import InvalidParameterError
from octabox.security.nesting import MAX_DEPTH, MAX_TEXT, MAX_VALUES, check_nesting, check_text


def nested(depth: int, *, objects: bool) -> Any:
    """Return lists or objects that lie so deep inside one another."""
    value: Any = 1
    for _ in range(depth):
        value = {"a": value} if objects else [value]
    return value


@pytest.mark.parametrize("objects", [True, False])
def test_nesting_has_a_bound(*, objects: bool) -> None:
    """As many levels as are allowed pass; one more is refused by name, and so are very many."""
    check_nesting(nested(MAX_DEPTH, objects=objects), "scale")

    for depth in (MAX_DEPTH + 1, 900, 100_000):
        with pytest.raises(InvalidParameterError, match="'scale' is nested more than") as caught:
            check_nesting(nested(depth, objects=objects), "scale")
        assert "scale" == caught.value.parameter


def test_the_number_of_values_has_a_bound() -> None:
    """An array of as many numbers as are allowed passes, and a larger one is to come as a file."""
    check_nesting([[0.0] * 1000] * (MAX_VALUES // 1000 - 2), "latents")

    with pytest.raises(InvalidParameterError, match=r"\.npy"):
        check_nesting([[0.0] * 1000] * (MAX_VALUES // 1000), "latents")


@pytest.mark.parametrize("wrap", [lambda text: text, lambda text: ["a", text], lambda text: {"a": [text]}])
def test_a_text_has_a_bound(wrap: Any) -> None:
    """The longest text passes, wherever it lies; one that is a character longer is refused."""
    check_text(wrap("x" * MAX_TEXT), "prompt")

    with pytest.raises(InvalidParameterError, match="'prompt' has 100001 characters"):
        check_text(wrap("x" * (MAX_TEXT + 1)), "prompt")
