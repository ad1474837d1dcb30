"""What steers a request, in the same words on every wire."""

from __future__ import annotations

from typing import Any

import pytest

from octabox.errors import InvalidParameterError
from octabox.frontends.http.bodies import check_fields
from octabox.frontends.naming.aliases import ControlAliases, inline_schema
from octabox.types import AdapterChoice, GenerationRequest, SchedulerChoice


def control_from_aliases(**fields: Any) -> GenerationRequest:
    """Return a request with what these fields say."""
    return check_fields(ControlAliases, fields).control_from_aliases(GenerationRequest("demo"))


@pytest.mark.parametrize(
    ("field", "value", "meant"),
    [
        ("scheduler", "euler", SchedulerChoice("euler")),
        ("scheduler", {"name": "euler", "a": 1}, SchedulerChoice("euler", {"a": 1})),
        ("adapters", ["a", {"lora": "b", "weight": 0.5}], (AdapterChoice("a"), AdapterChoice("b", 0.5))),
        ("adapters", '["a", {"lora": "b", "weight": 0.5}]', (AdapterChoice("a"), AdapterChoice("b", 0.5))),
        ("adapters", "a", (AdapterChoice("a"),)),
        ("adapters", None, ()),
        ("prompt_syntax", "a1111", "a1111"),
        ("styles", ["x", "y"], ("x", "y")),
        ("styles", '["x", "y"]', ("x", "y")),
        ("styles", "x", ("x",)),
        ("workflow", {"hires": 2}, {"hires": 2}),
        ("deterministic", True, True),
        ("workflow", '{"hires": 2}', {"hires": 2}),
        ("workflow", None, {}),
    ],
)
def test_each_field_reaches_the_request(field: str, value: Any, meant: object) -> None:
    """As JSON, as the text of a form, and as one name where a list is meant."""
    assert meant == getattr(control_from_aliases(**{field: value}), field)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("adapters", 3),
        ("adapters", [{"lora": "a", "weight": 1e9}]),
        ("adapters", ["a"] * 33),
        ("prompt_syntax", "latin"),
        ("styles", {"a": 1}),
        ("workflow", "hires"),
        ("workflow", [2]),
        ("scheduler", {"steps": 3}),
    ],
)
def test_what_is_wrong_is_named(field: str, value: Any) -> None:
    """The error is about the field."""
    with pytest.raises(InvalidParameterError) as caught:
        control_from_aliases(**{field: value})

    assert field == caught.value.parameter


def test_nothing_said_changes_nothing() -> None:
    """A request without these fields is what it was."""
    request = GenerationRequest("demo", id="x")

    assert request == ControlAliases.model_validate({}).control_from_aliases(request)


def test_the_documentation_has_all_parts_in_their_places() -> None:
    """LoRAs and the parts of workflows are described where they are taken, and nothing refers elsewhere."""
    schema = inline_schema(ControlAliases.model_json_schema())
    lora = schema["properties"]["adapters"]["items"]["anyOf"][1]

    assert "weight" in lora["properties"]
    assert {"hires", "upscale", "variation"} <= set(schema["properties"]["workflow"]["properties"])
    assert "$ref" not in str(schema)
