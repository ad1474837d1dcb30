"""The fields of a request to our own API."""

from __future__ import annotations

from typing import Any

import pytest

from octabox.errors import InvalidParameterError, InvalidRequestError, UnknownParameterError
from octabox.frontends.http.native.generations.schema import body_schema, parse_fields


def test_defaults() -> None:
    """Only a model must be named; null stands for not given."""
    body = parse_fields({"model": "demo", "seed": None, "output": {"fps": None}})

    assert ({}, 1, "url", None) == (body.params, body.num_outputs, body.output.response, body.output.fps)


def test_null_of_a_call_parameter_is_kept() -> None:
    """Inside of params null is a value like any other."""
    assert {"negative_prompt": None} == parse_fields({"model": "demo", "params": {"negative_prompt": None}}).params


def test_previews_are_partial_images() -> None:
    """Both words for unfinished images are taken, but not together."""
    assert 2 == parse_fields({"model": "demo", "previews": 2}).partial_images
    with pytest.raises(InvalidParameterError, match="are the same"):
        parse_fields({"model": "demo", "previews": 2, "partial_images": 2})


def test_short_names_of_fields_are_those_of_the_command_line() -> None:
    """Count and sampler are the number of outputs and the noise scheduler, and none is given twice."""
    body = parse_fields({"model": "demo", "count": 2, "sampler": "euler"})

    assert (2, "euler") == (body.num_outputs, body.scheduler)
    with pytest.raises(InvalidParameterError, match="'sampler' and 'scheduler' are the same"):
        parse_fields({"model": "demo", "sampler": "euler", "scheduler": "ddim"})


@pytest.mark.parametrize(
    ("fields", "hint"),
    [
        ({"sede": 3}, "Did you mean seed"),
        ({"num_output": 3}, "Did you mean num_outputs"),
        ({"guidance_scale": 3}, "Call parameters go into 'params'."),
        ({"output": {"formats": "png"}}, "Did you mean output.format?"),
        ({"output": {"zzz": "png"}}, "Known fields are format, quality, fps, response."),
    ],
)
def test_an_unknown_field_is_an_error(fields: dict[str, Any], hint: str) -> None:
    """It names the nearest, or where such things belong."""
    with pytest.raises(UnknownParameterError) as caught:
        parse_fields({"model": "demo", **fields})

    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("fields", "parameter"),
    [
        ({"model": ""}, "model"),
        ({"model": 3}, "model"),
        ({"params": []}, "params"),
        ({"seed": True}, "seed"),
        ({"seed": 1.5}, "seed"),
        ({"num_outputs": 0}, "num_outputs"),
        ({"partial_images": -1}, "partial_images"),
        ({"scheduler": 3}, "scheduler"),
        ({"output": "png"}, "output"),
        ({"output": {"quality": 101}}, "output.quality"),
        ({"output": {"fps": 0}}, "output.fps"),
        ({"output": {"response": "pigeon"}}, "output.response"),
        ({"id": "a/b"}, "id"),
        ({"id": ""}, "id"),
        ({"id": "."}, "id"),
        ({"id": ".."}, "id"),
        ({"stream": "perhaps"}, "stream"),
    ],
)
def test_a_wrong_value_is_an_error(fields: dict[str, Any], parameter: str) -> None:
    """It names the field, and that of an object inside with a dot."""
    with pytest.raises(InvalidParameterError) as caught:
        parse_fields({"model": "demo", **fields})

    assert parameter == caught.value.parameter


def test_all_that_is_wrong_is_named() -> None:
    """Unknown fields, wrong values and missing ones come together."""
    with pytest.raises(InvalidRequestError) as caught:
        parse_fields({"sede": 1, "output": {"quality": -1}, "num_outputs": 0})

    assert ["sede", "output.quality", "model", "num_outputs"] == [each.parameter for each in caught.value.problems]


def test_the_documentation_holds_every_field() -> None:
    """The schema that the server shows stands by itself."""
    schema = body_schema()

    assert "response" in schema["properties"]["output"]["properties"]
    assert "$defs" not in schema
