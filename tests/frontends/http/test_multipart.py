"""Forms as OpenAI's client and other clients encode lists, objects and files."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import openai
import pytest

from fakes import Server, sample_image
from octabox.types import AdapterChoice

EDITS = "/v1/images/edits"

#: Contents of four files.
LETTERS = (b"a", b"b", b"c", b"d")


@pytest.fixture
def server() -> Server:
    """Return a server over fakes."""
    return Server()


@pytest.fixture
async def client(server: Server) -> AsyncIterator[openai.AsyncOpenAI]:
    """Return OpenAI's client of it."""
    async with server.client() as client:
        yield client


async def edit(server: Server, *parts: tuple[str, Any]) -> httpx.Response:
    """Send a form with these parts and a prompt; bytes are files."""
    encoded = [(key, ("a.png", value) if isinstance(value, bytes) else (None, value)) for key, value in parts]
    return await server.http.post(EDITS, files=[("prompt", (None, "x")), *encoded])


@pytest.mark.parametrize("values", [[5], [5, 3], [0.5]])
async def test_a_list_of_the_client_stays_a_list(
    server: Server, client: openai.AsyncOpenAI, values: list[float]
) -> None:
    """A list has the same items in a form as in JSON, also if it has only one."""
    await client.images.edit(model="demo", prompt="x", image=sample_image(), extra_body={"timesteps": values})

    assert values == server.asked.params["timesteps"]


@pytest.mark.parametrize("styles", [["1"], ["1", "b"]])
async def test_a_declared_list_of_the_client(server: Server, client: openai.AsyncOpenAI, styles: list[str]) -> None:
    """A declared field that takes a list takes it in a form, and its texts stay texts."""
    await client.images.edit(model="demo", prompt="x", image=sample_image(), extra_body={"styles": styles})

    assert tuple(styles) == server.asked.styles


async def test_objects_of_the_client(server: Server, client: openai.AsyncOpenAI) -> None:
    """Objects arrive as they were sent, whatever their depth is, also in a list."""
    extra = {
        "workflow": {"hires": {"scale": 2, "params": {"prompt": "1"}}},
        "adapters": [{"lora": "a", "weight": 0.5}, {"lora": "b", "weight": 1}],
        "cross_attention_kwargs": {"scale": {"mid": [0.5]}},
    }
    await client.images.edit(model="demo", prompt="x", image=sample_image(), extra_body=extra)

    assert extra["workflow"] == server.asked.workflow
    assert (AdapterChoice("a", 0.5), AdapterChoice("b", 1.0)) == server.asked.adapters
    assert extra["cross_attention_kwargs"] == server.asked.params["cross_attention_kwargs"]


async def test_objects_in_a_list_with_other_keys(server: Server, client: openai.AsyncOpenAI) -> None:
    """The client's form does not state which object has a key that only some have, so that it is refused with the way out."""
    image, adapters = sample_image(), [{"lora": "a"}, {"lora": "b", "weight": 0.5}]
    with pytest.raises(openai.BadRequestError, match="Send the list as JSON in one part") as caught:
        await client.images.edit(model="demo", prompt="x", image=image, extra_body={"adapters": adapters})
    answer = await edit(server, ("image", image), ("adapters", '["a", {"lora": "b", "weight": 0.5}]'))

    assert "adapters" == caught.value.param
    assert 200 == answer.status_code
    assert (AdapterChoice("a"), AdapterChoice("b", 0.5)) == server.asked.adapters


async def test_adapters_one_by_one(server: Server) -> None:
    """Each item of a list of LoRAs is a name, or an object in JSON."""
    parts = (("adapters[]", "a"), ("adapters[]", '{"lora": "b", "weight": 0.5}'))

    assert 200 == (await edit(server, ("image", b"one"), *parts)).status_code
    assert (AdapterChoice("a"), AdapterChoice("b", 0.5)) == server.asked.adapters


@pytest.mark.parametrize(
    ("field", "keys"),
    [("n", ["n", "n"]), ("size", ["size", "size"]), ("task", ["task", "task"])],
)
async def test_a_field_that_takes_no_list(server: Server, field: str, keys: list[str]) -> None:
    """A declared field with one value is refused if it is given twice."""
    answer = await edit(server, ("image", b"one"), *[(key, "1") for key in keys])

    assert (400, field) == (answer.status_code, answer.json()["error"]["param"])
    assert "is given twice" in answer.json()["error"]["message"]


async def test_an_empty_negative_prompt_among_others(server: Server) -> None:
    """An empty negative prompt in a list keeps its place, so that the others stay with their prompts."""
    answer = await edit(
        server,
        ("image", b"one"),
        ("prompt", "y"),
        ("negative_prompt", ""),
        ("negative_prompt", "grey"),
        ("strength", ""),
    )

    assert 200 == answer.status_code
    assert {"prompt": ["x", "y"], "negative_prompt": ["", "grey"]} == server.asked.params


@pytest.mark.parametrize(
    ("parts", "inputs"),
    [
        ([("image[0]", b"one"), ("image[1]", b"two")], {"image": (b"one", b"two")}),
        ([("image[1]", b"two"), ("image[0]", b"one")], {"image": (b"one", b"two")}),
        ([("image[0]", "https://example.org/a.png")], {"image": ("https://example.org/a.png",)}),
        ([("image", b"one"), ("mask[0]", b"two")], {"image": (b"one",), "mask_image": (b"two",)}),
        ([("ref_images[]", b"c"), ("ref_images[]", b"d"), ("file", b"a"), ("files", b"b")], {"image": LETTERS}),
        ([("ref_images", b"b"), ("image", b"a")], {"image": (b"a", b"b")}),
        ([("images", b"a")], {"image": (b"a",)}),
        ([("images[]", b"a"), ("images[]", b"b")], {"image": (b"a", b"b")}),
        ([("images[1]", b"b"), ("images[0]", b"a")], {"image": (b"a", b"b")}),
        ([("image", b"a"), ("images", b"b"), ("mask", b"c")], {"image": (b"a", b"b"), "mask_image": (b"c",)}),
        ([("images", "https://example.org/a.png")], {"image": ("https://example.org/a.png",)}),
        ([("images[0][image_url]", "https://example.org/a.png")], {"image": ("https://example.org/a.png",)}),
        ([("image[][image_url]", "https://example.org/a.png")], {"image": ("https://example.org/a.png",)}),
        ([("image", b"a"), ("mask[image_url]", "https://example.org/a.png")],
         {"image": (b"a",), "mask_image": ("https://example.org/a.png",)}),
    ],
)  # fmt: skip
async def test_images_of_a_form(server: Server, parts: list[tuple[str, Any]], inputs: dict[str, Any]) -> None:
    """Files in brackets are those of the field, in the order of their numbers; LocalAI's names are in their own order."""
    answer = await edit(server, *parts)

    assert (200, inputs) == (answer.status_code, server.asked.inputs)


async def test_numbered_files_of_the_native_api(server: Server) -> None:
    """A form of the native API takes the same keys for files."""
    files = [("image[1]", ("b.png", b"two")), ("image[0]", ("a.png", b"one"))]
    answer = await server.http.post("/v1/generations", files=files, data={"model": "demo", "params": "{}"})

    assert 200 == answer.status_code
    assert {"image": (b"one", b"two")} == server.asked.inputs


async def test_one_value_in_brackets(server: Server) -> None:
    """A field that takes no list has the value itself, and an empty input beside an object's counts as left out."""
    parts = (("n[]", "1"), ("model[]", "demo"), ("joint_attention_kwargs", ""), ("joint_attention_kwargs[scale]", "1"))
    answer = await edit(server, ("image", b"one"), *parts)

    assert 200 == answer.status_code
    assert (1, {"scale": 1}) == (server.asked.num_outputs, server.asked.params["joint_attention_kwargs"])
