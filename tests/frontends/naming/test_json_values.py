"""JSON of requests and responses."""

from __future__ import annotations

import ast
import json
import math
from pathlib import Path
from typing import Any

import pytest

from a1111_bodies import IMAGE
from fakes import Server
from octabox import frontends
from octabox.frontends.http.middleware import SafeJson
from octabox.frontends.http.sse import encode_event
from octabox.frontends.naming import json_values
from octabox.frontends.naming.json_values import encode_json, parse_json_or_text, refuse_constant

#: A value with numbers that JSON does not have.
ODD = {"a": [math.inf, (-math.inf, {"b": math.nan, "c": 1.5})], math.inf: 1, "text": "Infinity", "path": Path("x")}

#: The same in JSON.
EVEN = {"a": [None, [None, {"b": None, "c": 1.5}]], "inf": 1, "text": "Infinity", "path": "x"}


def strict(text: str | bytes) -> Any:
    """Return the value of valid JSON."""
    return json.loads(text, parse_constant=refuse_constant)


@pytest.mark.parametrize(("text", "value"), [("1", 1), ("[1]", [1]), ("NaN", "NaN"), ("null", "null"), ("x", "x")])
def test_json_or_text(text: str, value: object) -> None:
    """What is no number, list or object is a text."""
    assert value == parse_json_or_text(text)


def test_a_number_that_json_does_not_have_is_null() -> None:
    """In responses and in events, at any depth."""
    event = encode_event("x", ODD).split("data: ")[1]

    assert EVEN == strict(encode_json(ODD)) == strict(bytes(SafeJson(ODD).body)) == strict(event)
    assert '{"a":1}' == encode_json({"a": 1})


def test_no_frontend_writes_json_otherwise() -> None:
    """Each response of each protocol is valid."""
    folder, writers = Path(str(frontends.__file__)).parent, set()
    for file in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and node.attr in ("dumps", "dump") and ast.unparse(node.value) == "json":
                writers.add(file)

    assert {Path(str(json_values.__file__))} == writers


@pytest.mark.parametrize(("route", "fields"), [("txt2img", {}), ("img2img", {"init_images": [IMAGE]})])
async def test_what_a_client_of_the_web_ui_sends_is_echoed(route: str, fields: dict[str, Any]) -> None:
    """A sigma may be infinite, and is null in the response."""
    server = Server()
    body = {"prompt": "x", "s_tmax": "inf", "batch_size": 2, "extra": {"deep": ["x"]}, **fields}
    answer = await server.http.post(f"/sdapi/v1/{route}", json=body)

    assert answer.is_success, answer.text
    assert strict(answer.content)["parameters"]["s_tmax"] is None
    assert 2 == len(strict(answer.json()["info"])["infotexts"])
