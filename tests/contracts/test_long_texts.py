"""What a client's text is repeated in has a bounded length, and a text is refused before it is parsed."""

from __future__ import annotations

from typing import Any

import pytest

from fakes import Server
from octabox.security.nesting import MAX_TEXT
from octabox.shortening import MAX_MESSAGE

#: A name or a text as long as a body may be.
LONG = "a" * 3_000_000

#: Bodies with a text of any length as the prompt, and routes that they are for.
PROMPTS: dict[str, dict[str, Any]] = {
    "/v1/images/generations": {"prompt": "TEXT"},
    "/v1/images/inpainting": {"prompt": "TEXT", "image": "x", "mask": "x"},
    "/video": {"model": "demo", "prompt": "TEXT"},
    "/sdapi/v1/txt2img": {"prompt": "TEXT"},
    "/sdapi/v1/img2img": {"prompt": "a", "init_images": ["x"], "negative_prompt": "TEXT"},
    "/models/demo": {"inputs": "TEXT"},
    "/api/generations": {"model": "demo", "params": {"prompt": "TEXT"}},
}

#: Routes that read an infotext.
INFOTEXTS = ("/sdapi/v1/txt2img", "/sdapi/v1/img2img")


@pytest.mark.parametrize("route", PROMPTS)
@pytest.mark.parametrize("value", [LONG, 1, None, {"a": LONG}])
async def test_the_names_of_fields_are_not_repeated_whole(route: str, value: Any) -> None:
    """A field whose name is megabytes long is an error of some kilobytes."""
    answer = await Server().http.post(route, json={**PROMPTS[route], LONG: value})

    assert answer.status_code in (400, 404, 415, 422)
    assert len(answer.content) < 8 * MAX_MESSAGE


@pytest.mark.parametrize("route", ["/v1/images/generations", "/video", "/models/demo", "/api/generations"])
async def test_many_unknown_fields_are_not_all_reported(route: str) -> None:
    """Thousands of unknown fields are an error with some of them."""
    answer = await Server().http.post(
        route, json={**PROMPTS[route], **{f"unknown_{index}": 1 for index in range(5000)}}
    )

    assert len(answer.content) < 100 * MAX_MESSAGE


@pytest.mark.parametrize("field", ["model", "size", "quality", "style", "response_format", "output_format", "seed"])
async def test_values_are_not_repeated_whole(field: str) -> None:
    """Neither is the value of a field, in an error or in a warning."""
    answer = await Server().generate(**{"prompt": "a", field: LONG})

    assert len(answer.content) < 20 * MAX_MESSAGE


@pytest.mark.parametrize("route", INFOTEXTS)
async def test_infotexts_have_a_maximum(route: str) -> None:
    """An infotext is refused before it is parsed if it is longer than any prompt."""
    answer = await Server().http.post(route, json={"infotext": "a" * (MAX_TEXT + 1), "init_images": ["x"]})

    assert 400 == answer.status_code
    assert f"'infotext' has {MAX_TEXT + 1} characters; the maximum is {MAX_TEXT}" in answer.text


@pytest.mark.parametrize("field", ["prompt", "negative_prompt"])
@pytest.mark.parametrize("route", ["/v1/images/generations", "/sdapi/v1/txt2img"])
async def test_prompts_have_a_maximum(route: str, field: str) -> None:
    """So is a prompt, at the routes that parse it themselves."""
    answer = await Server().http.post(route, json={"model": "demo", "prompt": "a", field: "(" * (MAX_TEXT + 1)})

    assert 400 == answer.status_code
    assert f"'{field}' has {MAX_TEXT + 1} characters" in answer.text
