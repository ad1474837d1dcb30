"""Generations as server-sent events."""

import json
from typing import Any

import pytest

from fakes import Server, sample_image
from octabox.errors import MediaError, OutOfMemoryError
from octabox.frontends.http import sse
from octabox.types import Artifact


async def events(server: Server, **body: Any) -> list[tuple[str, dict[str, Any]]]:
    """Return the names and the data of a stream's events."""
    answer = await server.generate(prompt="x", stream=True, **body)
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.text.endswith("\n\n")
    lines = [block.split("\n") for block in answer.text.strip().split("\n\n")]
    return [(name.removeprefix("event: "), json.loads(data.removeprefix("data: "))) for name, data in lines]


async def test_fields_of_a_partial_image() -> None:
    """A partial image has all that OpenAI's has."""
    name, data = (await events(Server(), partial_images=1, size="24x16", output_format="jpeg"))[0]

    assert "image_generation.partial_image" == name == data["type"]
    assert data.pop("b64_json")
    assert data.pop("created_at")
    assert data == {
        "type": name,
        "partial_image_index": 0,
        "output_index": 0,
        "size": "24x16",
        "quality": "auto",
        "background": "auto",
        "output_format": "jpeg",
    }


@pytest.mark.parametrize(
    ("body", "size"),
    [
        ({"width": None}, "auto"),
        ({"width": None, "height": None}, "auto"),
        ({"height": None, "width": 24}, "auto"),
        ({"width": 24, "height": 16}, "24x16"),
        ({"size": "24x16"}, "24x16"),
        ({}, "auto"),
    ],
)
async def test_the_size_of_an_image_that_states_none(body: dict[str, Any], size: str) -> None:
    """It is the requested one, or `auto` where the request does not set both sides, which may be null."""
    server = Server()
    server.generations.made = Artifact("image", "image/png", sample_image())
    found = await events(server, partial_images=1, **body)

    assert [size, size] == [data["size"] for _, data in found]


async def test_fields_of_the_end() -> None:
    """Each artifact has an event of its own, with seed, usage and warnings."""
    found = await events(Server(), n=2, seed=3, style="vivid", quality="high")
    told = ["'quality' has no effect as 'high'.", "'style' has no effect.", "served warning."]

    assert [3, 4] == [data["seed"] for _, data in found]
    assert [told, told] == [data["warnings"] for _, data in found]
    assert ("high", 0) == (found[0][1]["quality"], found[0][1]["usage"]["total_tokens"])


async def test_a_late_error_before_the_first_event(monkeypatch: pytest.MonkeyPatch) -> None:
    """Validation that takes long, such as of an image by URL, does not hold the headers back."""
    monkeypatch.setattr(sse, "START_TIMEOUT", 0.01)
    server = Server()
    server.generations.delay, server.generations.error = 0.05, MediaError("Not an image.", parameter="guidance_scale")
    name, data = (await events(server, cfg_scale=2))[0]

    assert ("error", "invalid_image", "cfg_scale") == (name, data["error"]["code"], data["error"]["param"])


async def test_error_within() -> None:
    """An error of ours ends the stream with its body."""
    server = Server()
    server.generations.late = OutOfMemoryError("Full.", hint="Less.")
    name, data = (await events(server))[-1]

    assert ("error", "out_of_memory", "Less.") == (name, data["error"]["code"], data["error"]["hint"])


async def test_unexpected_error_within() -> None:
    """An unexpected error ends the stream and tells nothing, and a good stream after it is served."""
    server = Server()
    server.generations.late = ZeroDivisionError("secret")
    name, data = (await events(server))[-1]
    server.generations.late = None
    after = await events(server)

    assert ("error", "internal_error") == (name, data["error"]["code"])
    assert "secret" not in str(data)
    assert "image_generation.completed" == after[-1][0]
