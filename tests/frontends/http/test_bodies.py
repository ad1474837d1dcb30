"""What clients send, read."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import BaseModel

from octabox.errors import InvalidParameterError, RequestError
from octabox.frontends.http.bodies import MANY_VALUES, check_fields, read_object
from octabox.frontends.naming.json_values import parse_json_or_text
from octabox.schedulers.names import parse_scheduler_choice
from octabox.types import SchedulerChoice


class Part(BaseModel):
    """A nested object."""

    name: str


class Whole(BaseModel):
    """A body."""

    model: str
    size: int = 1
    parts: list[Part] = []


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"{", "not valid JSON"),
        (b"[" * 100_000, "not valid JSON"),
        (b"[]", "must be a JSON object"),
        (b'{"a": NaN}', "NaN is not a JSON number"),
        (b'{"a": "\xff"}', "not UTF-8"),
        (b'{"a": "\\ud800"}', "not UTF-8"),
    ],
)
def test_what_is_no_object(data: bytes, words: str) -> None:
    """What is no JSON object is refused, with an example in the hint where that helps."""
    with pytest.raises(RequestError, match=words):
        read_object(data, '{"x": 1}')


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("3", 3),
        ("[1, 2]", [1, 2]),
        ('{"a": 1}', {"a": 1}),
        ("true", True),
        ("null", "null"),
        ('"x"', '"x"'),
        ("a cat", "a cat"),
        ("NaN", "NaN"),
        ("[" * 100_000, "[" * 100_000),
    ],
)
def test_what_a_fields_text_means(text: str, meaning: Any) -> None:
    """Numbers, lists, objects and truth are what they say; everything else is text."""
    assert meaning == parse_json_or_text(text)


def test_schedulers() -> None:
    """A scheduler is a name, or an object with a name and settings."""
    assert parse_scheduler_choice(None) is None
    assert SchedulerChoice("euler") == parse_scheduler_choice("euler")
    assert SchedulerChoice("euler", {"a": 1}) == parse_scheduler_choice({"name": "euler", "a": 1})
    recorded = {"name": "euler", "settings": {"a": 1}, "schedule": "karras"}
    assert SchedulerChoice("euler", {"a": 1, "schedule": "karras"}) == parse_scheduler_choice(recorded)
    with pytest.raises(InvalidParameterError, match="no name"):
        parse_scheduler_choice({"name": 3})


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"size": 3}, "'model' is missing."),
        ({"model": "a", "size": []}, "'size' must be a whole number."),
        ({"model": "a", "parts": [{}]}, "'parts' has no 'name'."),
    ],
)
def test_the_words_of_a_field(fields: dict[str, Any], message: str) -> None:
    """A field that is missing is named, also within another one; of a wrong value, the expected type."""
    with pytest.raises(RequestError) as caught:
        check_fields(Whole, fields)

    assert message == caught.value.message


@pytest.mark.parametrize(
    "value", ['[1, [2.5, -3e2], {"a": "\\u00e9"}]', '"x"', "true", "null", '{"b": []}', '"\\ud83d\\ude00"']
)
def test_large_bodies_are_parsed_alike(value: str) -> None:
    """The decoder of large bodies, which lets other threads run, reads the same values, and refuses the same."""
    filler = ", ".join(["0"] * (MANY_VALUES + 1))
    body = f'{{"value": {value}, "filler": [{filler}]}}'.encode()

    assert json.loads(body) == read_object(body)
    for wrong in (b"NaN", b"[", b'"\\ud800"', b"1 2"):
        with pytest.raises(RequestError):
            read_object(body.replace(b"[0", b"[" + wrong + b", 0"))


@pytest.mark.parametrize(("part", "times"), [(b"0,", 2**20), (b"[],", 500_000), (b'{"a": 0},', 500_000), (b"[", 2**20)])
def test_a_body_of_too_many_values_is_not_parsed(part: bytes, times: int) -> None:
    """Lists, objects and numbers are counted before anything is parsed."""
    with pytest.raises(RequestError, match="more than"):
        read_object(b'{"a": [' + part * times)
