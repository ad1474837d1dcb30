"""Requests without a prompt as tasks of their caller, over fakes: they show progress, and can be ended."""

from __future__ import annotations

import asyncio
import base64
import io
from collections.abc import AsyncGenerator
from typing import Any

import httpx
import pytest
from PIL import Image

from fakes import Server, sample_image
from octabox.types import Event, GenerationRequest

PREFIX = "/sdapi/v1"
IMAGE = base64.b64encode(sample_image(size=(16, 8))).decode()

#: Each route that runs models, with the name of its task and a body with three images if it takes several.
ROUTES: dict[str, tuple[str, dict[str, Any], int]] = {
    "extra-single-image": ("extras", {"image": IMAGE, "upscaler_1": "larger"}, 1),
    "extra-batch-images": ("extras", {"imageList": [{"data": IMAGE}] * 3, "upscaler_1": "larger"}, 3),
    "interrogate": ("interrogate", {"image": IMAGE}, 1),
}


@pytest.fixture
def server() -> Server:
    """Return a server with models that enlarge images, restore faces and describe images."""
    server = Server()
    server.add("larger", "StableDiffusionUpscalePipeline")
    server.add("faces", "FaceRestorationPipeline")
    server.add("talker", "UniDiffuserPipeline")
    return server


async def begin(server: Server, route: str, number: int = 1, **body: Any) -> asyncio.Task[httpx.Response]:
    """Start a request, and return it once its run of this number does not end."""
    await server.http.get(f"{PREFIX}/scripts")
    generations, stream, reached = server.generations, server.generations.stream, asyncio.Event()

    async def hanging(request: GenerationRequest, models: Any = None) -> AsyncGenerator[Event, None]:
        generations.hang = len(generations.requests) + 1 == number
        async for event in stream(request, models):
            if generations.hang:
                asyncio.get_running_loop().call_soon(reached.set)
            yield event

    generations.stream = hanging  # type: ignore[method-assign]
    request = asyncio.create_task(server.http.post(f"{PREFIX}/{route}", json={**ROUTES[route][1], **body}))
    waiting = asyncio.create_task(reached.wait())
    await asyncio.wait({request, waiting}, timeout=30, return_when=asyncio.FIRST_COMPLETED)
    assert not request.done(), request.result().text
    return request


async def state(server: Server) -> dict[str, Any]:
    """Return the progress of the caller."""
    found: dict[str, Any] = (await server.http.get(f"{PREFIX}/progress")).json()
    return found


async def end(server: Server, request: asyncio.Task[httpx.Response], how: str = "interrupt") -> dict[str, Any]:
    """End the current image of a request, or all of it, and return the body of its response."""
    await server.http.post(f"{PREFIX}/{how}")
    answer = await asyncio.wait_for(request, 30)
    assert answer.is_success, answer.text
    body: dict[str, Any] = answer.json()
    return body


@pytest.mark.parametrize("route", ROUTES)
async def test_each_is_a_task_that_can_be_ended(server: Server, route: str) -> None:
    """Its name and its images are those of the progress, which is over when it was interrupted."""
    job, _, count = ROUTES[route]
    request = await begin(server, route)
    seen = await state(server)
    body = await end(server, request)
    after = await state(server)

    assert (job, count) == (seen["state"]["job"], seen["state"]["job_count"])
    assert seen["progress"] > 0
    assert any("interrupted" in each for each in body["warnings"])
    assert server.generations.cancelled.is_set()
    assert (0.0, "", 0) == (after["progress"], after["state"]["job"], after["state"]["job_count"])


async def test_an_interrupted_batch_has_the_images_so_far(server: Server) -> None:
    """The progress is that of its images."""
    request = await begin(server, "extra-batch-images", 2)
    seen = await state(server)
    body = await end(server, request)

    assert 1 == seen["state"]["job_no"]
    assert 1 / 3 <= seen["progress"] < 2 / 3
    assert 1 == len(body["images"])
    assert "The request was interrupted: 1 of 3 images are finished." in body["html_info"]
    assert 2 == len(server.generations.requests)


async def test_a_skipped_image_of_a_batch_is_left_out(server: Server) -> None:
    """The others are made."""
    body = await end(server, await begin(server, "extra-batch-images", 2), "skip")

    assert 2 == len(body["images"])
    assert [each for each in body["warnings"] if "skipped" in each] == ["Image 2 was skipped."]


@pytest.mark.parametrize("how", ["interrupt", "skip"])
@pytest.mark.parametrize("number", [1, 2])
async def test_an_interrupted_image_is_as_far_as_it_was_made(server: Server, how: str, number: int) -> None:
    """As the web UI returns it: unchanged, or with restored faces but not enlarged, with a warning."""
    body = await end(server, await begin(server, "extra-single-image", number, gfpgan_visibility=1), how)
    with Image.open(io.BytesIO(base64.b64decode(body["image"]))) as image:
        made = image.convert("RGB")
    with Image.open(io.BytesIO(sample_image(size=(16, 8)))) as image:
        sent = image.convert("RGB")

    assert number == len(server.generations.requests)
    assert (made.tobytes() == sent.tobytes()) == (number == 1)
    assert any("interrupted" in each or "skipped" in each for each in body["warnings"])


async def test_another_caller_ends_nothing(server: Server) -> None:
    """Its interruption is for its own tasks."""
    request = await begin(server, "extra-single-image")
    foreign = httpx.ASGITransport(server.app, client=("192.0.2.7", 1))
    await httpx.AsyncClient(transport=foreign, base_url="http://localhost").post(f"{PREFIX}/interrupt")
    seen = await state(server)
    await end(server, request)

    assert (1, False) == (seen["state"]["job_count"], seen["state"]["interrupted"])


async def test_a_client_that_leaves_ends_its_batch(server: Server) -> None:
    """No further image is made, and no task remains."""
    request = await begin(server, "extra-batch-images", 2)
    request.cancel()
    await asyncio.wait_for(server.generations.cancelled.wait(), 30)
    await asyncio.gather(request, return_exceptions=True)

    assert 2 == len(server.generations.requests)
    assert 0 == (await state(server))["state"]["job_count"]
