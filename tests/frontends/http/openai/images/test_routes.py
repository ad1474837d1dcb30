"""Making images over HTTP, by plain requests and by OpenAI's own client."""

import base64
import io
from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest
from PIL import Image

from fakes import Server, sample_image
from octabox.catalog.pipelines import load_catalog
from octabox.errors import InvalidParameterError, QueueFullError, WorkerDiedError
from octabox.service.bounds import Limits
from octabox.service.planning import plan_request

GENERATIONS = "/v1/images/generations"


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    """Return a server over fakes."""
    server = Server()
    yield server
    await server.http.aclose()


@pytest.fixture
async def client(server: Server) -> AsyncIterator[openai.AsyncOpenAI]:
    """Return OpenAI's client of that server."""
    async with server.client() as client:
        yield client


def opened(text: str | None) -> Image.Image:
    """Return the image in base64 text."""
    return Image.open(io.BytesIO(base64.b64decode(text or "")))


async def test_url_is_the_default_and_leads_to_the_image(server: Server, client: openai.AsyncOpenAI) -> None:
    """An answer's URL serves the very image, with its media type."""
    answer = await client.images.generate(model="demo", prompt="a circle", size="32x24", output_format="webp")
    assert answer.data is not None
    response = await server.http.get(str(answer.data[0].url))

    assert "image/webp" == response.headers["content-type"]
    assert (32, 24) == Image.open(io.BytesIO(response.content)).size


async def test_several_images_have_seeds_of_their_own(client: openai.AsyncOpenAI) -> None:
    """Three images are reported with three seeds, the first of them the one asked for."""
    answer = await client.images.generate(
        model="demo", prompt="x", n=3, response_format="b64_json", extra_body={"seed": 40}
    )
    data = answer.data or []

    assert [40, 41, 42] == [item.to_dict()["seed"] for item in data]
    assert [40, 41, 42] == [opened(item.b64_json).getpixel((0, 0))[0] for item in data]  # type: ignore[index]


async def test_answer_says_what_was_made(server: Server) -> None:
    """An answer names the model, the pipeline, the task, the warnings of both rooms, size and format."""
    body = (await server.generate(prompt="x", style="vivid", quality="20")).json()
    facts = {name: body[name] for name in ("model", "pipeline", "task", "warnings", "size", "quality", "output_format")}

    assert facts == {
        "model": "demo",
        "pipeline": "FakePipeline",
        "task": "text-to-image",
        "warnings": ["'style' has no effect.", "served warning."],
        "size": "16x16",
        "quality": "20",
        "output_format": "png",
    }
    assert 0 == body["usage"]["total_tokens"]
    assert {"run": 0.1} == body["timings"]


async def test_public_url_stands_before_results() -> None:
    """Links begin with the address that the settings name."""
    server = Server(public_url="https://pictures.example/")
    url = (await server.generate(prompt="x")).json()["data"][0]["url"]

    assert url.startswith("https://pictures.example/results/")


async def test_edit_with_mask(server: Server, client: openai.AsyncOpenAI) -> None:
    """An edit with a mask is inpainting; files and further fields arrive as they were sent."""
    image, mask = sample_image("red"), sample_image("white")
    await client.images.edit(
        model="demo", prompt="blue", image=image, mask=mask, n=2, size="16x16", extra_body={"strength": 0.5}
    )

    assert "inpainting" == server.asked.task
    assert {"image": (image,), "mask_image": (mask,)} == server.asked.inputs
    assert {"prompt": "blue", "strength": 0.5} == server.asked.params
    assert 2 == server.asked.num_outputs


async def test_edit_of_several_images(server: Server, client: openai.AsyncOpenAI) -> None:
    """Several images of an edit arrive in their order."""
    images = [sample_image("red"), sample_image("blue")]
    await client.images.edit(model="demo", prompt="mix", image=images)

    assert ("image-to-image", tuple(images)) == (server.asked.task, server.asked.inputs["image"])


async def test_variation(server: Server) -> None:
    """A variation needs no prompt and is image to image."""
    answer = await server.http.post(
        "/v1/images/variations", files={"image": ("a.png", sample_image())}, data={"n": "2"}
    )

    assert 200 == answer.status_code
    assert ("image-to-image", {"prompt": ""}) == (server.asked.task, server.asked.params)
    assert 2 == len(answer.json()["data"])


async def test_stream_by_the_client(client: openai.AsyncOpenAI) -> None:
    """A stream has the partial images and then each finished one."""
    stream = await client.images.generate(
        model="demo", prompt="x", stream=True, partial_images=2, extra_body={"seed": 9}
    )
    events = [event async for event in stream]
    partial, completed = "image_generation.partial_image", "image_generation.completed"

    assert [partial, partial, completed] == [event.type for event in events]
    assert [0, 1] == [event.to_dict()["partial_image_index"] for event in events[:2]]
    assert 9 == events[-1].to_dict()["seed"]
    assert (16, 16) == opened(events[-1].b64_json).size


async def test_stream_of_an_edit(client: openai.AsyncOpenAI) -> None:
    """The events of an edit have names of their own."""
    stream = await client.images.edit(model="demo", prompt="x", image=sample_image(), stream=True, partial_images=1)

    assert ["image_edit.partial_image", "image_edit.completed"] == [event.type async for event in stream]


async def test_unknown_model(client: openai.AsyncOpenAI) -> None:
    """A model that is not there is 404 with its code."""
    with pytest.raises(openai.NotFoundError) as caught:
        await client.images.generate(model="none", prompt="x")

    assert "model_not_found" == caught.value.code


async def test_errors_name_the_clients_parameter(server: Server, client: openai.AsyncOpenAI) -> None:
    """The core's num_outputs is n to this client, and width its size."""
    with pytest.raises(openai.BadRequestError) as too_many:
        await client.images.generate(model="demo", prompt="x", n=11)
    server.generations.error = InvalidParameterError("Too small.", parameter="width")
    with pytest.raises(openai.BadRequestError) as too_small:
        await client.images.generate(model="demo", prompt="x", extra_body={"size": "1x1"})

    assert ("n", "invalid_value") == (too_many.value.param, too_many.value.code)
    assert "size" == too_small.value.param


async def test_full_queue_says_when_to_come_back(server: Server, client: openai.AsyncOpenAI) -> None:
    """A full queue is 429 with Retry-After, and a good request after it is served."""
    server.generations.error = QueueFullError("Full.", retry_after=12.4)
    with pytest.raises(openai.RateLimitError) as caught:
        await client.images.generate(model="demo", prompt="x")
    server.generations.error = None

    assert "13" == caught.value.response.headers["retry-after"]
    assert (await client.images.generate(model="demo", prompt="x")).data


async def test_error_before_a_stream_is_an_answer(server: Server, client: openai.AsyncOpenAI) -> None:
    """What goes wrong before the first event has a status of its own."""
    server.generations.error = InvalidParameterError("Bad.", parameter="strength")
    with pytest.raises(openai.BadRequestError) as caught:
        await client.images.generate(model="demo", prompt="x", stream=True)

    assert "strength" == caught.value.param


async def test_error_within_a_stream_is_an_event(server: Server, client: openai.AsyncOpenAI) -> None:
    """What goes wrong later ends the stream with an error that the client raises."""
    server.generations.late = WorkerDiedError("The worker died.")
    stream = await client.images.generate(model="demo", prompt="x", stream=True)
    with pytest.raises(openai.APIError, match="The worker died"):
        _ = [event async for event in stream]


@pytest.mark.parametrize(
    ("body", "param", "code"),
    [
        ({}, "prompt", "missing_required_parameter"),
        ({"prompt": " "}, "prompt", "missing_required_parameter"),
        ({"prompt": 3}, "prompt", "invalid_value"),
        ({"prompt": "x", "n": 0}, "n", "invalid_value"),
        ({"prompt": "x", "n": "two"}, "n", "invalid_value"),
        ({"prompt": "x", "size": "big"}, "size", "invalid_value"),
        ({"prompt": "x", "size": "1" * 5000 + "x1"}, "size", "invalid_value"),
        ({"prompt": "x", "output_format": "gif"}, "output_format", "invalid_value"),
        ({"prompt": "x", "output_compression": 101}, "output_compression", "invalid_value"),
        ({"prompt": "x", "partial_images": 4}, "partial_images", "invalid_value"),
        ({"prompt": "x", "response_format": "file"}, "response_format", "invalid_value"),
        ({"prompt": "x", "step": 1, "num_inference_steps": 2}, "num_inference_steps", "invalid_value"),
    ],
)
async def test_bad_fields(server: Server, body: dict[str, Any], param: str, code: str) -> None:
    """A bad field is named, and nothing reaches the service."""
    answer = await server.generate(**body)

    assert 400 == answer.status_code
    assert (param, code) == (answer.json()["error"]["param"], answer.json()["error"]["code"])
    assert [] == server.generations.requests


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[1]",
        b'{"prompt": "\xff"}',
        b'{"prompt": "\\ud800"}',
        b"[" * 100_000,
        b'{"\\ud800": 1, "n": 0}',
        b'{"prompt": "x", "a": NaN}',
    ],
)
async def test_bad_bodies(server: Server, content: bytes) -> None:
    """A body that is no JSON object in UTF-8 is a bad request in OpenAI's shape."""
    answer = await server.http.post(GENERATIONS, content=content, headers={"content-type": "application/json"})

    assert 400 == answer.status_code
    assert "invalid_request_error" == answer.json()["error"]["type"]


async def test_edit_without_image_or_prompt(server: Server) -> None:
    """An edit says what it lacks."""
    path, file = "/v1/images/edits", {"image": ("a.png", sample_image())}
    answers = [
        await server.http.post(path, json={"prompt": "x"}),
        await server.http.post(path, files={"other": ("a.png", sample_image())}, data={"prompt": "x"}),
        await server.http.post(path, files=file),
        await server.http.post(path, files=file, data={"prompt": "x", "image": "https://example.org/a.png"}),
        await server.http.post(path, content=b"--", headers={"content-type": "multipart/form-data"}),
    ]

    assert [400, 400, 400, 200, 400] == [answer.status_code for answer in answers]
    assert ["image", "image", "prompt"] == [answer.json()["error"]["param"] for answer in answers[:3]]


@pytest.mark.parametrize("stream", [False, True])
async def test_client_that_goes_away_cancels(server: Server, *, stream: bool) -> None:
    """When the client goes away, its request is cancelled, streaming or not."""
    server.generations.hang = True
    await server.leave(GENERATIONS, prompt="x", stream=stream)

    assert server.generations.cancelled.is_set()


async def test_a_bar_in_the_prompt_of_a_pipeline_without_a_negative_prompt(server: Server) -> None:
    """It is text, so that no parameter is refused that was not sent."""
    server.add("flux", "Flux2Pipeline")
    answer = await server.generate(model="flux", prompt="a cat | studio light")
    found = plan_request(server.asked, server.models.resolve("flux"), load_catalog(), Limits())

    assert 200 == answer.status_code
    assert {"prompt": "a cat | studio light"} == server.asked.params
    assert "a cat | studio light" == found.runs[0][0]["prompt"]
    assert ["served warning."] == answer.json()["warnings"]


@pytest.mark.parametrize(
    ("prompt", "warnings"),
    [
        ({}, ()),
        ({"prompt": ""}, ()),
        ({"prompt": "x"}, ("'prompt' has no effect: DDPMPipeline has no such parameter.",)),
    ],
)
async def test_a_prompt_of_a_model_that_takes_none(
    server: Server, prompt: dict[str, str], warnings: tuple[str, ...]
) -> None:
    """OpenAI's client always sends a prompt: an empty one is as none, and another one is a warning."""
    server.add("ddpm", "DDPMPipeline")
    answer = await server.generate(model="ddpm", **prompt)
    found = plan_request(server.asked, server.models.resolve("ddpm"), load_catalog(), Limits())

    assert 200 == answer.status_code
    assert {} == server.asked.params
    assert warnings == found.warnings


@pytest.mark.parametrize("response_format", [None, "b64_json"])
async def test_the_payload_of_librechat(server: Server, response_format: str | None) -> None:
    """The image tool of LibreChat sends DALL-E's fields: each is honoured or a warning, and the answer is where it reads it."""
    body = {
        "model": "dall-e-3",
        "prompt": "a star",
        "quality": "hd",
        "style": "vivid",
        "size": "1024x1024",
        "n": 1,
        "user": "65f1c2",
        **({"response_format": response_format} if response_format else {}),
    }
    server.add("dall-e-3", "StableDiffusionPipeline")
    answer = (await server.http.post(GENERATIONS, json=body)).json()

    asked = server.asked
    assert ("dall-e-3", "a star", 1) == (asked.model, asked.params["prompt"], asked.num_outputs)
    assert {"width": 1024, "height": 1024} == {name: asked.optional_params[name] for name in ("width", "height")}
    assert ["'quality' has no effect as 'hd'.", "'style' has no effect."] == answer["warnings"][:2]
    (item,) = answer["data"]
    content = (await server.http.get(item["url"])).content if response_format is None else opened(item["b64_json"])
    assert content
