"""Generations by our own API, over fakes."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Any

import httpx
import pytest

from fakes import FakeGenerations, Server, sample_image
from octabox.errors import MediaError, QueueFullError
from octabox.types import Artifact, GenerationRequest, OutputFormat, SchedulerChoice

PATH = "/v1/generations"
GOOD: dict[str, Any] = {"model": "demo", "params": {"prompt": "a cat"}, "seed": 5}
CONTENT = {"response": "b64_json"}

#: One of each kind, as a pipeline of several outputs makes them.
KINDS = (
    Artifact("image", "image/png", sample_image(), 5, {"size": {"width": 16, "height": 8}}, "images"),
    Artifact("video", "video/mp4", b"clip", 5, {}, "frames"),
    Artifact("audio", "audio/wav", b"sound", 5, {}, "audios"),
    Artifact("mesh", "model/gltf-binary", b"mesh", 5, {}, "meshes"),
    Artifact("text", "text/plain", "été".encode(), None, {}, "text"),
    Artifact("array", "application/x-npy", b"numbers", 5, {}, "depth"),
)


@pytest.fixture
def server() -> Server:
    """Return a server over fakes."""
    return Server()


async def post(server: Server, **change: Any) -> httpx.Response:
    """Send the good request with a change."""
    return await server.http.post(PATH, json={**GOOD, **change})


def events(text: str) -> list[tuple[str, dict[str, Any]]]:
    """Return the events of a stream."""
    found = []
    for block in text.strip().split("\n\n"):
        name, data = block.split("\n")
        found.append((name.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
    return found


async def test_a_request_reaches_the_service_as_it_is(server: Server) -> None:
    """Every field has its place in the request; media stay as they came."""
    params = {"prompt": ["a", "b"], "image": ["data:image/png;base64,AAAA"], "latents": [[1.0, 2.0]], "eta": 0.5}
    answer = await post(
        server,
        task="image-to-image",
        params=params,
        num_outputs=2,
        scheduler={"name": "euler", "use_karras_sigmas": True},
        output={"format": "webp", "quality": 40, "fps": 12},
        id="mine",
    )

    assert 200 == answer.status_code
    assert server.asked == GenerationRequest(
        "demo",
        task="image-to-image",
        params=params,
        seed=5,
        num_outputs=2,
        scheduler=SchedulerChoice("euler", {"use_karras_sigmas": True}),
        output=OutputFormat("webp", 40, 12),
        id="mine",
    )


async def test_an_answer_has_links(server: Server) -> None:
    """By default each output has a link to its file; facts stand beside."""
    answer = (await post(server, num_outputs=2, id="x")).json()
    first, second = answer["outputs"]

    assert ("x", "demo", "FakePipeline", "text-to-image") == tuple(
        answer[name] for name in ("id", "model", "pipeline", "task")
    )
    assert (["served warning."], {"run": 0.1}) == (answer["warnings"], answer["timings"])
    assert ("image", "image/png", 5) == (first["kind"], first["media_type"], first["seed"])
    assert {"width": 16, "height": 16} == first["metadata"]["size"]
    assert "b64_json" not in first
    assert (await server.http.get(second["url"])).content.startswith(b"\x89PNG")


async def test_every_kind_of_output(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Outputs of all kinds come back whole, by their names; text is there as text too."""
    made = iter(KINDS)
    monkeypatch.setattr(FakeGenerations, "_artifact", lambda *_: next(made))
    outputs = (await post(server, num_outputs=6, output=CONTENT)).json()["outputs"]

    told = [(each["kind"], each["media_type"], each["name"], base64.b64decode(each["b64_json"])) for each in outputs]
    assert [(each.kind, each.media_type, each.name, each.content) for each in KINDS] == told
    assert ["été"] == [each["text"] for each in outputs if "text" in each]


@pytest.mark.parametrize("whole", [True, False])
async def test_a_form(server: Server, *, whole: bool) -> None:
    """A form holds the request as JSON or field by field; each file is for the parameter that it is named after."""
    flat = {name: value if isinstance(value, str) else json.dumps(value) for name, value in GOOD.items()}
    data = {"request": json.dumps(GOOD)} if whole else flat
    files = [("image", ("a.png", b"one")), ("image[]", ("b.png", b"two")), ("mask_image", ("m.png", b"mask"))]
    answer = await server.http.post(PATH, data=data, files=files)

    assert 200 == answer.status_code
    assert {"image": (b"one", b"two"), "mask_image": (b"mask",)} == server.asked.inputs
    assert ({"prompt": "a cat"}, 5) == (server.asked.params, server.asked.seed)


async def test_a_form_with_the_request_as_a_file(server: Server) -> None:
    """Clients that name the media type of the JSON send it as a file."""
    files = {"request": ("request.json", json.dumps(GOOD).encode(), "application/json")}

    assert 200 == (await server.http.post(PATH, files=files)).status_code


@pytest.mark.parametrize(
    ("data", "files", "parameter"),
    [
        ({"request": json.dumps(GOOD), "seed": "3"}, {}, "request"),
        ({"request": "{"}, {}, None),
        ({"model": "demo", "params": '{"image": "x"}'}, {"image": b"x"}, "image"),
        ({"model": "demo", "params": "{"}, {}, "params"),
        ({"model": ["demo", "demo"]}, {}, "model"),
        ({"model": "demo", "prompt": "x"}, {}, "prompt"),
    ],
)
async def test_a_bad_form(server: Server, data: Any, files: Any, parameter: str | None) -> None:
    """What is given twice, or cannot be read, is an error that names it."""
    answer = await server.http.post(PATH, data=data, files={**files, "other": b"x"})

    assert (400, parameter) == (answer.status_code, answer.json()["error"]["param"])


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff"])
async def test_a_body_that_is_no_object(server: Server, content: bytes) -> None:
    """What is no JSON object is refused with an example of one."""
    answer = await server.http.post(PATH, content=content, headers={"content-type": "application/json"})

    assert 400 == answer.status_code


async def test_an_error_of_the_service(server: Server) -> None:
    """Errors have the shape that they have everywhere, and name our fields."""
    server.generations.error = MediaError("Bad.", parameter="output_format")
    answer = await post(server)

    assert (400, "output.format") == (answer.status_code, answer.json()["error"]["param"])
    server.generations.error = QueueFullError("Full.", retry_after=3)
    assert "3" == (await post(server)).headers["retry-after"]


async def test_a_stream(server: Server) -> None:
    """A stream tells progress with previews, then each output, then the whole without its content."""
    answer = await post(server, stream=True, previews=1, num_outputs=2, output=CONTENT, id="x")
    told = events(answer.text)
    names = [name for name, _ in told]

    assert answer.headers["content-type"].startswith("text/event-stream")
    assert ["progress", "progress", "output", "output", "done"] == names
    assert {
        "id": "x",
        "phase": "queued",
        "step": 0,
        "steps": 0,
        "position": 0,
        "output": 0,
        "part": 1,
        "parts": 1,
    } == told[0][1]
    assert (1, 3) == (told[1][1]["step"], told[1][1]["steps"])
    assert told[1][1]["preview"].startswith("data:image/png;base64,")
    assert [(0, 5), (1, 6)] == [(data["index"], data["seed"]) for name, data in told if name == "output"]
    assert base64.b64decode(told[2][1]["b64_json"]).startswith(b"\x89PNG")
    assert [5, 6] == [each["seed"] for each in told[-1][1]["outputs"]]
    assert "b64_json" not in told[-1][1]["outputs"][0]


async def test_previews_without_a_stream_are_a_warning(server: Server) -> None:
    """Unfinished images have no place in a plain answer, which says so."""
    answer = (await post(server, partial_images=2)).json()

    assert "'partial_images' has no effect without 'stream'." in answer["warnings"]
    assert 0 == server.asked.partial_images


async def test_an_error_in_a_stream(server: Server) -> None:
    """What fails at once is an answer of its own; what fails later is the stream's last event."""
    server.generations.late = MediaError("Late.", parameter="output_compression")
    told = events((await post(server, stream=True)).text)
    server.generations.error = MediaError("Early.")

    assert ["progress", "error"] == [name for name, _ in told]
    assert "output.quality" == told[-1][1]["error"]["param"]
    assert 400 == (await post(server, stream=True)).status_code


async def test_a_request_is_looked_at(server: Server) -> None:
    """A request can be looked at while it runs, and its result while it is kept."""
    server.generations.hang = True
    running = asyncio.create_task(post(server, id="slow"))
    await server.generations.begun.wait()
    before = (await server.http.get(f"{PATH}/slow")).json()
    await server.http.delete(f"{PATH}/slow")
    await running
    server.generations.hang = False
    whole = (await post(server, id="quick")).json()
    after = (await server.http.get(f"{PATH}/quick")).json()

    assert ("queued", None, "queued") == (before["status"], before["result"], before["progress"]["phase"])
    assert ("completed", whole) == (after["status"], after["result"])
    assert after["created_at"] <= after["ended_at"] < after["expires_at"]


async def test_a_running_request_is_cancelled(server: Server) -> None:
    """Deleting a running request ends it, and whoever waits for it is told."""
    server.generations.hang = True
    running = asyncio.create_task(post(server, id="slow"))
    await server.generations.begun.wait()
    answer = (await server.http.delete(f"{PATH}/slow")).json()
    told = await running

    assert server.generations.cancelled.is_set()
    assert ("cancelled", False) == (answer["status"], answer["deleted"])
    assert (499, "cancelled") == (told.status_code, told.json()["error"]["code"])
    assert "cancelled" == (await server.http.get(f"{PATH}/slow")).json()["status"]


async def test_an_ended_request_is_deleted(server: Server) -> None:
    """Deleting an ended request deletes its files, and nobody finds it again."""
    url = (await post(server, id="x")).json()["outputs"][0]["url"]
    answer = await server.http.delete(f"{PATH}/x")

    assert ("completed", True) == (answer.json()["status"], answer.json()["deleted"])
    assert 404 == (await server.http.get(url)).status_code
    assert 404 == (await server.http.get(f"{PATH}/x")).status_code


@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_an_unknown_request(server: Server, method: str) -> None:
    """An id that leads nowhere has an error of its own."""
    answer = await server.http.request(method, f"{PATH}/nothing")

    assert (404, "generation_not_found") == (answer.status_code, answer.json()["error"]["code"])


async def test_an_id_that_runs_is_taken(server: Server) -> None:
    """A second request of a running id is refused, and the first goes on."""
    server.generations.hang = True
    running = asyncio.create_task(post(server, id="x"))
    await server.generations.begun.wait()
    second = await post(server, id="x")
    status = (await server.http.get(f"{PATH}/x")).json()["status"]
    await server.http.delete(f"{PATH}/x")
    await running

    assert (400, "id", "queued") == (second.status_code, second.json()["error"]["param"], status)


@pytest.mark.parametrize("stream", [True, False])
async def test_a_client_that_leaves_cancels(server: Server, *, stream: bool) -> None:
    """When its client goes away a request is cancelled."""
    server.generations.hang = True
    await server.leave(PATH, **GOOD, stream=stream, id="x")

    assert server.generations.cancelled.is_set()
    assert "cancelled" == (await server.http.get(f"{PATH}/x")).json()["status"]


async def test_a_body_has_a_limit() -> None:
    """A body that is too large is refused before it is read."""
    server = Server(max_upload_bytes=100)

    assert 413 == (await post(server, params={"prompt": "x" * 200})).status_code
