"""What clients send, field by field."""

from __future__ import annotations

import pytest

from octabox.errors import InvalidParameterError, InvalidRequestError
from octabox.frontends.http.openai.images.schema import parse_fields


@pytest.mark.parametrize("name", ["n", "seed", "partial_images", "output_compression"])
def test_truth_is_no_number(name: str) -> None:
    """True is not taken for 1."""
    with pytest.raises(InvalidParameterError) as caught:
        parse_fields({name: True})

    assert name == caught.value.parameter


def test_all_wrong_fields_are_named() -> None:
    """One error names every field that is wrong."""
    with pytest.raises(InvalidRequestError) as caught:
        parse_fields({"n": 0, "partial_images": 9})

    assert {"n", "partial_images"} == {problem.parameter for problem in caught.value.problems}
