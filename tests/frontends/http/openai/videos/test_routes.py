"""Videos by OpenAI's client, over fakes."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import av
import httpx
import numpy as np
import openai
import pytest
from PIL import Image

from fakes import Server, sample_image
from octabox.catalog.pipelines import load_catalog
from octabox.errors import MediaError, OutOfMemoryError
from octabox.service.bounds import Limits
from octabox.service.planning import plan_request
from octabox.types import Artifact

# OpenAI itself gives its videos up; its client warns of that.
pytestmark = pytest.mark.filterwarnings("ignore:The Sora API:DeprecationWarning")

PATH = "/v1/videos"


def clip(width: int = 64, height: int = 32) -> bytes:
    """Return a short red MP4 file."""
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("mpeg4", rate=8)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for _ in range(5):
            frame = av.VideoFrame.from_ndarray(np.array(Image.new("RGB", (width, height), "red")), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return file.getvalue()


@pytest.fixture
def server() -> Server:
    """Return a server that makes videos, over fakes."""
    server = Server()
    server.add("wan", "WanPipeline")
    server.add("ltx", "LTXPipeline")
    server.add("sana", "SanaVideoPipeline")
    server.add("svd", "StableVideoDiffusionPipeline")
    server.add("picasso", "StableDiffusionPipeline")
    facts = {"size": {"width": 64, "height": 32}, "num_frames": 5, "fps": 8}
    server.generations.made = Artifact("video", "video/mp4", clip(), 7, facts, "frames")
    return server


@pytest.fixture
async def client(server: Server) -> AsyncIterator[openai.AsyncOpenAI]:
    """Return OpenAI's client of it."""
    async with server.client() as client:
        yield client


async def post(server: Server, **body: Any) -> httpx.Response:
    """Ask for a video."""
    return await server.http.post(PATH, json={"model": "wan", "prompt": "a cat", **body})


async def test_a_video_is_made_and_fetched(client: openai.AsyncOpenAI) -> None:
    """The client starts a video, polls it, downloads it with its thumbnail, and deletes it."""
    video = await client.videos.create_and_poll(
        prompt="a cat", model="wan", seconds="4", size="1280x720", poll_interval_ms=1
    )
    content = await client.videos.download_content(video.id)
    small = await client.videos.download_content(video.id, variant="thumbnail")
    deleted = await client.videos.delete(video.id)

    assert ("completed", 100, "wan", "a cat", "4") == (
        video.status,
        video.progress,
        video.model,
        video.prompt,
        video.seconds,
    )
    assert video.completed_at is not None
    assert video.expires_at is not None
    assert video.created_at <= video.completed_at < video.expires_at
    assert b"ftyp" == content.content[4:8]
    assert (64, 32) == Image.open(io.BytesIO(small.content)).size
    assert (video.id, True) == (deleted.id, deleted.deleted)
    with pytest.raises(openai.NotFoundError):
        await client.videos.retrieve(video.id)


async def test_a_thumbnail_shows_the_video(server: Server, client: openai.AsyncOpenAI) -> None:
    """It is the first frame, and no longer than a thumb's side."""
    server.generations.made = Artifact("video", "video/mp4", clip(1024, 256))
    video = await client.videos.create_and_poll(prompt="x", model="wan", poll_interval_ms=1)
    content = await client.videos.download_content(video.id, variant="thumbnail")
    shown = Image.open(io.BytesIO(content.content)).convert("RGB")
    red, green, blue = shown.getpixel((256, 64))  # type: ignore[misc]

    assert (512, 128) == shown.size
    assert (red > 200, green < 60, blue < 60) == (True, True, True)


@pytest.mark.parametrize(
    ("model", "fields", "optional_params"),
    [
        ("wan", {"seconds": "4"}, {"num_frames": 65}),
        ("wan", {"seconds": 4}, {"num_frames": 65}),
        ("wan", {"seconds": 0.01}, {"num_frames": 1}),
        ("wan", {"seconds": 4, "fps": 24}, {"num_frames": 97}),
        ("ltx", {"seconds": 4}, {"num_frames": 101}),
        ("ltx", {"seconds": 4, "frame_rate": 10}, {"num_frames": 41}),
        ("sana", {"seconds": 2}, {"frames": 33}),
        ("wan", {"size": "720x1280"}, {"width": 720, "height": 1280}),
        ("wan", {}, {}),
    ],
)
async def test_seconds_and_size_are_wishes(
    server: Server, model: str, fields: dict[str, Any], optional_params: dict[str, int]
) -> None:
    """A length is as many frames as that takes, in the number that the model can make."""
    await post(server, model=model, **fields)

    assert optional_params == server.asked.optional_params


async def test_frames_a_second(server: Server) -> None:
    """They are told to the pipeline where it asks, and to what writes the file."""
    await post(server, model="ltx", fps=10)
    first = server.asked
    await post(server, fps=12.5)

    assert ({"frame_rate": 10, "prompt": "a cat"}, 10) == (first.params, first.output.fps)
    assert ({"prompt": "a cat"}, 12.5) == (server.asked.params, server.asked.output.fps)


async def test_what_is_not_said_is_the_models_own(server: Server) -> None:
    """Length and size of a video that nobody named are the pipeline's defaults, until the file tells better."""
    server.generations.hang = True
    video = (await post(server)).json()

    assert ("5", "832x480", "queued", 0) == (video["seconds"], video["size"], video["status"], video["progress"])


async def test_a_finished_video_has_its_own_facts(server: Server, client: openai.AsyncOpenAI) -> None:
    """Where nothing was known of its length and size, the finished file tells them."""
    video = await client.videos.create_and_poll(
        prompt="a", model="wan", poll_interval_ms=1, extra_body={"video": "AAAA", "task": "video-to-video"}
    )

    assert ("0.62", "64x32") == (video.seconds, video.size)


async def test_a_length_without_effect_is_a_warning(server: Server) -> None:
    """A pipeline that makes videos of one length, such as that of the video it is given, says so."""
    server.generations.hang = True
    video = (await post(server, seconds=4, video="AAAA", task="video-to-video")).json()

    assert "auto" == video["seconds"]
    assert {} == server.asked.optional_params
    assert "'seconds' has no effect" in video["warnings"][0]


async def test_other_call_parameters_pass(server: Server, client: openai.AsyncOpenAI) -> None:
    """Any other field is a call parameter, in a form as in JSON."""
    extra = {"num_inference_steps": 3, "negative_prompt": "dogs", "guidance_scale": 2.5, "seed": 9}
    await client.videos.create(prompt="a cat", model="wan", extra_body=extra)

    assert {"prompt": "a cat", "negative_prompt": "dogs", "num_inference_steps": 3, "guidance_scale": 2.5} == dict(
        server.asked.params
    )
    assert 9 == server.asked.seed


async def test_an_image_as_reference(server: Server, client: openai.AsyncOpenAI, tmp_path: Path) -> None:
    """An image goes to the model's parameter for one, of a sibling where its own pipeline has none."""
    file = tmp_path / "a.png"
    file.write_bytes(sample_image())
    await client.videos.create(prompt="a cat", model="svd", input_reference=file)
    own = server.asked
    await client.videos.create(prompt="a cat", model="ltx", input_reference=file)

    assert (None, {"image": (sample_image(),)}) == (own.task, own.inputs)
    assert ("image-to-video", {"image": (sample_image(),)}) == (server.asked.task, server.asked.inputs)


async def test_a_video_as_reference(server: Server, client: openai.AsyncOpenAI) -> None:
    """A video goes to the parameter for one."""
    content = clip()
    await client.videos.create(prompt="a cat", model="wan", input_reference=("a.mp4", content))

    assert ("video-to-video", {"video": (content,)}) == (server.asked.task, server.asked.inputs)


@pytest.mark.parametrize("reference", ["data:image/png;base64,AAAA", {"image_url": "https://host/a.png"}])
async def test_a_reference_in_json(server: Server, reference: Any) -> None:
    """A reference may be text, or an object with a link."""
    await post(server, model="svd", prompt=None, input_reference=reference)

    assert {"image": (reference if isinstance(reference, str) else "https://host/a.png",)} == server.asked.inputs


async def test_an_object_in_a_form(server: Server) -> None:
    """An object of a form is written field by field."""
    data = {"prompt": "", "model": "svd", "input_reference[image_url]": "https://host/a.png"}
    await server.http.post(PATH, data=data)

    assert {"image": ("https://host/a.png",)} == server.asked.inputs


@pytest.mark.parametrize(
    ("fields", "status", "parameter"),
    [
        ({"prompt": ""}, 400, "prompt"),
        ({"prompt": None}, 400, "prompt"),
        ({"seconds": "long"}, 400, "seconds"),
        ({"seconds": True}, 400, "seconds"),
        ({"seconds": 0}, 400, "seconds"),
        ({"seconds": 4, "num_frames": 9}, 400, "num_frames"),
        ({"model": "ltx", "fps": 4, "frame_rate": 9}, 400, "frame_rate"),
        ({"size": "large"}, 400, "size"),
        ({"model": "picasso"}, 400, "model"),
        ({"model": "nobody"}, 404, None),
        ({"input_reference": {"file_id": "f"}}, 400, "input_reference"),
        ({"input_reference": "AAAA"}, 400, "input_reference"),
        ({"model": "svd", "input_reference": "AAAA", "image": "AAAA"}, 400, "input_reference"),
        ({"task": "text-to-cheese"}, 400, None),
        ({"scheduler": {"a": 1}}, 400, "scheduler"),
        ({"output_format": "wav"}, 400, "output_format"),
        ({"output_format": "png"}, 400, "output_format"),
        ({"output_format": "jpg"}, 400, "output_format"),
        ({"fps": 1000}, 400, "fps"),
    ],
)
async def test_bad_input(server: Server, fields: dict[str, Any], status: int, parameter: str | None) -> None:
    """What is wrong with a request is answered at once, and no job is left of it."""
    answer = await post(server, **fields)

    assert (status, parameter) == (answer.status_code, answer.json()["error"]["param"])
    assert [] == (await server.http.get(PATH)).json()["data"]


async def test_a_model_of_images_says_so(server: Server) -> None:
    """A model that makes no video names what it makes."""
    error = (await post(server, model="picasso")).json()["error"]

    assert "Model 'picasso' makes images, not videos." in error["message"]


async def test_what_the_service_refuses_is_answered_at_once(server: Server) -> None:
    """An error before the queue is the answer, in the client's words."""
    server.generations.error = MediaError("Bad.", parameter="num_frames")
    answer = await post(server, seconds=3)

    assert (400, "seconds") == (answer.status_code, answer.json()["error"]["param"])
    assert [] == (await server.http.get(PATH)).json()["data"]


async def test_a_job_that_fails_later(server: Server, client: openai.AsyncOpenAI) -> None:
    """It says why, and has no content."""
    server.generations.pause = 0.05
    server.generations.late = OutOfMemoryError("Too big.", parameter="width", hint="Smaller.")
    video = await client.videos.create_and_poll(prompt="x", model="wan", size="1280x720", poll_interval_ms=1)

    assert video.error is not None
    assert ("failed", "out_of_memory", "Too big. Smaller.", "size") == (
        video.status,
        video.error.code,
        video.error.message,
        video.error.param,
    )
    with pytest.raises(openai.BadRequestError, match="has failed"):
        await client.videos.download_content(video.id)


async def test_a_running_video(server: Server, client: openai.AsyncOpenAI) -> None:
    """It is waiting and has no content yet; deleting it ends it."""
    server.generations.hang = True
    video = await client.videos.create(prompt="x", model="wan")
    with pytest.raises(openai.BadRequestError, match="not finished"):
        await client.videos.download_content(video.id)
    await asyncio.wait_for(server.generations.begun.wait(), 10)
    await client.videos.delete(video.id)

    assert "queued" == video.status
    assert server.generations.cancelled.is_set()


async def test_videos_are_listed(client: openai.AsyncOpenAI) -> None:
    """The list has the newest first, page by page, and holds no other requests."""
    made = [(await client.videos.create(prompt=str(each), model="wan")).id for each in range(3)]
    page = await client.videos.list(limit=2)
    every = [video.id async for video in client.videos.list(limit=2)]
    oldest = await client.videos.list(order="asc", limit=1)

    assert made[:0:-1] == [video.id for video in page.data]
    assert made[::-1] == every
    assert made[:1] == [video.id for video in oldest.data]


async def test_the_client_is_told_of_what_it_does_not_get(client: openai.AsyncOpenAI, server: Server) -> None:
    """A video object has one file."""
    server.generations.copies = 2
    video = await client.videos.create_and_poll(prompt="x", model="wan", poll_interval_ms=1)

    assert (
        "The response has the first of 2 outputs." in (await server.http.get(f"{PATH}/{video.id}")).json()["warnings"]
    )


async def test_other_requests_are_no_videos(server: Server) -> None:
    """A generation of another wire is neither listed nor found."""
    await server.http.post("/v1/generations", json={"model": "demo", "id": "x"})

    assert [] == (await server.http.get(PATH)).json()["data"]
    assert 404 == (await server.http.get(f"{PATH}/x")).status_code
    assert 404 == (await server.http.get(PATH, params={"after": "x"})).status_code


async def test_the_first_model_that_makes_videos(server: Server) -> None:
    """Without a model the first of the list that makes videos is asked; where there is none, that is an error."""
    await post(server, model=None)

    assert "wan" == server.asked.model
    assert 404 == (await Server().http.post(PATH, json={"prompt": "x"})).status_code


async def test_an_unknown_variant(server: Server) -> None:
    """Only what there is can be downloaded."""
    video = (await post(server)).json()["id"]
    answer = await server.http.get(f"{PATH}/{video}/content", params={"variant": "spritesheet"})

    assert (400, "variant") == (answer.status_code, answer.json()["error"]["param"])


async def test_a_file_that_is_gone(client: openai.AsyncOpenAI, monkeypatch: pytest.MonkeyPatch) -> None:
    """A video whose file had to make room is not found, and says why."""
    video = await client.videos.create_and_poll(prompt="x", model="wan", poll_interval_ms=1)
    monkeypatch.setattr("octabox.frontends.http.results.Results.find", lambda *_: None)
    with pytest.raises(openai.NotFoundError, match="has expired"):
        await client.videos.download_content(video.id)


@pytest.mark.parametrize("field", ["input_reference", "input_reference[image_url]"])
async def test_a_reference_as_a_file_and_as_a_url(server: Server, field: str) -> None:
    """A reference as a file and by its URL is an error: neither is dropped."""
    files: list[Any] = [("input_reference", ("a.png", sample_image())), (field, (None, "http://example.com/a.png"))]
    answer = await server.http.post(PATH, data={"model": "svd"}, files=files)

    assert (400, "input_reference") == (answer.status_code, answer.json()["error"]["param"])
    assert "is given twice" in answer.json()["error"]["message"]


async def test_the_formats_of_a_video(server: Server) -> None:
    """They are those with all frames in one file, since a video has one file to download."""
    refused = (await post(server, output_format="jpeg")).json()["error"]
    accepted = [(await post(server, output_format=name)).status_code for name in refused["choices"]]

    assert ["webp", "mp4", "webm", "gif"] == refused["choices"]
    assert [200] * 4 == accepted


async def test_a_job_without_a_video(server: Server, client: openai.AsyncOpenAI) -> None:
    """A job that made something else, such as an array, has no video to download, and says where its outputs are."""
    server.generations.made = Artifact("array", "application/x-npz", b"frames", name="frames")
    video = await client.videos.create_and_poll(prompt="x", model="wan", poll_interval_ms=1)
    with pytest.raises(openai.NotFoundError, match="has no video: the model returned array") as caught:
        await client.videos.download_content(video.id)
    (output,) = (await server.http.get(f"/v1/jobs/{video.id}")).json()["result"]["outputs"]

    assert "completed" == video.status
    assert f"/v1/jobs/{video.id}" in str(caught.value)
    assert "array" == output["kind"]


async def test_a_prompt_of_a_pipeline_that_takes_none(server: Server, client: openai.AsyncOpenAI) -> None:
    """The client requires a prompt, so that a model that makes a video of an image alone ignores it with a warning."""
    await client.videos.create(prompt="a cat", model="svd", input_reference=("a.png", sample_image()))
    found = plan_request(server.asked, server.models.resolve("svd"), load_catalog(), Limits())

    assert {} == server.asked.params
    assert ("'prompt' has no effect: StableVideoDiffusionPipeline has no such parameter.",) == found.warnings
