"""The inference API of the Hub, over fakes."""

from __future__ import annotations

import base64
from typing import Any

import httpx
import pytest

from fakes import Server, sample_image
from octabox.errors import GatedModelError, InvalidParameterError, ModelNotFoundError
from octabox.types import Artifact

PNG = sample_image()
ENCODED = base64.b64encode(PNG).decode()
ACCEPT = {"accept": "image/png"}


@pytest.fixture
def server() -> Server:
    """Return a server of models of several outputs, over fakes."""
    server = Server()
    server.add("depth", "MarigoldDepthPipeline")
    server.add("sound", "StableAudioPipeline")
    server.add("video", "StableVideoDiffusionPipeline")
    return server


async def infer(server: Server, path: str = "/models/demo", **body: Any) -> httpx.Response:
    """Send a request in JSON, as the client does for images."""
    return await server.http.post(path, json=body, headers=ACCEPT)


async def test_text_to_image(server: Server) -> None:
    """The response is the file; its seed and the warnings are headers, one of which the client logs."""
    parameters = {"negative_prompt": "no", "num_inference_steps": 2, "seed": 5, "scheduler": "euler", "width": 64}
    answer = await infer(server, inputs="a star", parameters=parameters)

    assert (200, "image/png", "5") == (
        answer.status_code,
        answer.headers["content-type"],
        answer.headers["x-octabox-seed"],
    )
    assert answer.content.startswith(b"\x89PNG")
    assert "served warning." == answer.headers["x-octabox-warnings"]
    assert "served warning." == answer.headers["x-hf-warning"].partition("; ")[2]
    params = {"prompt": "a star", "negative_prompt": "no", "num_inference_steps": 2, "width": 64}
    assert (params, 5, "png") == (server.asked.params, server.asked.seed, server.asked.output.format)
    assert server.asked.scheduler is not None
    assert "euler" == server.asked.scheduler.name


async def test_options_without_effect_are_warnings(server: Server) -> None:
    """Options of the Hub's own servers are accepted, and each is named."""
    answer = await infer(server, inputs="a star", options={"wait_for_model": True, "use_cache": False})

    assert 200 == answer.status_code
    assert "'options.wait_for_model' has no effect" in answer.headers["x-octabox-warnings"]
    assert 3 == len(answer.headers.get_list("x-hf-warning"))


async def test_image_to_image_in_json(server: Server) -> None:
    """An image in base64 with a prompt among the parameters, and a size that the pipeline may lack."""
    parameters = {"prompt": "a star", "strength": 0.5, "target_size": {"width": 8, "height": 16}}
    answer = await infer(server, inputs=ENCODED, parameters=parameters)

    assert 200 == answer.status_code
    assert ({"image": (ENCODED,)}, "image-to-image") == (server.asked.inputs, server.asked.task)
    assert {"prompt": "a star", "strength": 0.5} == server.asked.params
    assert {"width": 8, "height": 16} == server.asked.optional_params


@pytest.mark.parametrize("kind", ["image/png", "application/octet-stream", None])
async def test_a_file_as_the_body(server: Server, kind: str | None) -> None:
    """Without parameters the client sends the file alone, and of bytes no content type; the query has parameters."""
    headers = {**ACCEPT, "content-type": kind} if kind else ACCEPT
    answer = await server.http.post("/models/demo?strength=0.5&seed=3", content=PNG, headers=headers)

    assert 200 == answer.status_code
    assert ({"image": (PNG,)}, {"prompt": "", "strength": 0.5}) == (server.asked.inputs, server.asked.params)
    assert 3 == server.asked.seed


async def test_a_mask_selects_inpainting(server: Server) -> None:
    """With another file the task is not fixed, so that the files select the pipeline."""
    parameters = {"prompt": "a star", "mask_image": ENCODED}

    assert 200 == (await infer(server, inputs=ENCODED, parameters=parameters)).status_code
    assert (None, ENCODED) == (server.asked.task, server.asked.params["mask_image"])


async def test_a_model_without_a_prompt(server: Server) -> None:
    """A depth map is an array, of which the client gets the image."""
    server.generations.made = Artifact("image", "image/png", PNG, name="depth")
    answer = await server.http.post("/models/depth", content=PNG, headers=ACCEPT)

    assert (200, "image/png") == (answer.status_code, answer.headers["content-type"])
    assert ({"image": (PNG,)}, {}) == (server.asked.inputs, server.asked.params)
    assert 400 == (await infer(server, "/models/depth", inputs="a star")).status_code


@pytest.mark.parametrize(
    ("path", "accept", "model"),
    [
        ("/", "image/png", "demo"),
        ("/", "*/*", "depth"),
        ("/", "audio/*", "sound"),
        ("/models/demo/pipeline/text-to-image", "image/png", "demo"),
        ("/models/org/painter", "image/png", "org/painter"),
    ],
)
async def test_the_model(server: Server, path: str, accept: str, model: str) -> None:
    """The path has the model, whose name may have a slash; the root is the first that makes what is accepted."""
    body = {"inputs": ENCODED if model == "depth" else "a star"}
    answer = await server.http.post(path, json=body, headers={"accept": accept})

    assert (200, model) == (answer.status_code, server.asked.model)


@pytest.mark.parametrize(
    ("made", "media_type", "content"),
    [
        (Artifact("video", "video/mp4", b"film"), "video/mp4", b"film"),
        (Artifact("audio", "audio/wav", b"rain"), "audio/wav", b"rain"),
        (Artifact("text", "text/plain", b"a star"), "application/json", b'[{"generated_text":"a star"}]'),
    ],
)
async def test_other_outputs(server: Server, made: Artifact, media_type: str, content: bytes) -> None:
    """Each output is its file, and text the list that the client reads."""
    server.generations.made = made
    answer = await server.http.post("/models/demo", json={"inputs": "x"})

    assert (media_type, content) == (answer.headers["content-type"], answer.content)


async def test_audio_of_audio_is_a_list(server: Server) -> None:
    """The client reads base64 from it."""
    server.generations.made = Artifact("audio", "audio/wav", b"rain", name="audios")
    path = "/models/sound/pipeline/audio-to-audio"
    answer = await server.http.post(path, content=b"RIFFxxxxWAVE", headers={"content-type": "audio/wav"})

    assert [{"label": "audios", "content-type": "audio/wav", "blob": "cmFpbg=="}] == answer.json()
    assert {"initial_audio_waveforms": (b"RIFFxxxxWAVE",)} == server.asked.inputs


async def test_several_outputs(server: Server) -> None:
    """A file is one output, and a warning tells of the others."""
    server.generations.made = Artifact("image", "image/png", PNG)
    server.generations.copies = 3
    answer = await infer(server, inputs="a star")

    assert "The response has the first of 3 outputs." in answer.headers["x-octabox-warnings"]
    assert 2 == len(answer.headers.get_list("x-hf-warning"))


@pytest.mark.parametrize(
    ("body", "parameter", "words"),
    [
        ({}, "inputs", "'inputs' is missing or empty"),
        ({"inputs": "", "parameters": None}, "inputs", "'inputs' is missing or empty"),
        ({"inputs": [], "parameters": {"prompt": "x"}}, "inputs", "'inputs' is missing or empty"),
        ({"inputs": 3}, "inputs", "'inputs' must be"),
        ({"inputs": "x", "seed": 1}, "seed", "Put it into 'parameters'."),
        ({"inputs": "x", "parameters": [1]}, "parameters", "must be an object"),
        ({"inputs": "x", "parameters": {"seed": "x"}}, "seed", "'seed' must be"),
        ({"inputs": "x", "parameters": {"target_size": {"width": 8}}}, "target_size", "has no 'height'"),
        ({"inputs": "x", "parameters": {"output_format": "mp4"}}, "output_format", "cannot be written as 'mp4'"),
        ({"inputs": "data:video/mp4;base64,AAAA"}, "inputs", "does not take a video"),
        (
            {"inputs": "x", "parameters": {"width": 8, "target_size": {"width": 8, "height": 8}}},
            "width",
            "'target_size' and 'width' set the same value",
        ),
    ],
)
async def test_bad_input(server: Server, body: dict[str, Any], parameter: str, words: str) -> None:
    """The error is the text that the client shows, with the hint; other fields name the parameter."""
    answer = await infer(server, **body)

    assert (400, parameter) == (answer.status_code, answer.json()["param"])
    assert words in answer.json()["error"]
    assert [] == server.generations.requests


async def test_a_model_of_another_output(server: Server) -> None:
    """A client that accepts images is told what the model makes."""
    answer = await infer(server, "/models/video", inputs=ENCODED)

    assert (400, "invalid_value") == (answer.status_code, answer.json()["code"])
    assert "Model 'video' makes videos, not images." in answer.json()["error"]


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (ModelNotFoundError("There is no model 'x'."), 404, "RepoNotFound"),
        (GatedModelError("It is gated."), 403, "GatedRepo"),
        (InvalidParameterError("It is bad.", parameter="prompt"), 400, None),
    ],
)
async def test_errors_have_the_hubs_codes(server: Server, error: Exception, status: int, code: str | None) -> None:
    """The client has classes for some errors, and shows the text of all."""
    server.generations.error = error
    answer = await infer(server, inputs="x")

    assert (status, code, str(error)) == (
        answer.status_code,
        answer.headers.get("x-error-code"),
        answer.headers["x-error-message"],
    )
    assert str(error) == answer.json()["error"]
    assert ("inputs" if code is None else None) == answer.json()["param"]


async def test_content_types(server: Server) -> None:
    """Text and forms, which pages of other sites can send, are refused; an empty body is an error too."""
    answers = [
        await server.http.post("/models/demo", content=b"x", headers={"content-type": "text/plain"}),
        await server.http.post("/models/demo", data={"inputs": "x"}),
        await server.http.post("/models/demo"),
    ]

    assert [415, 415, 400] == [answer.status_code for answer in answers]
    assert "not 'text/plain'" in answers[0].json()["error"]


async def test_keys_and_sizes() -> None:
    """A missing key and a body that is too large are errors in the same shape."""
    server = Server(api_keys=["secret"], max_upload_bytes=100)
    known = {"authorization": "Bearer secret"}
    refused = await infer(server, inputs="x")
    large = await server.http.post("/models/demo", content=iter_bytes(), headers=known)

    assert (401, 413) == (refused.status_code, large.status_code)
    assert "Bearer" == refused.headers["www-authenticate"]
    assert isinstance(refused.json()["error"], str)
    assert "larger than the allowed 100 bytes" in large.json()["error"]
    assert 200 == (await server.http.post("/models/demo", json={"inputs": "x"}, headers=known)).status_code


async def iter_bytes() -> Any:
    """Yield a body whose size is not declared."""
    for _ in range(3):
        yield b"x" * 60


async def test_health_and_info(server: Server) -> None:
    """The client checks an endpoint by a path below its URL."""
    paths = ("/models/demo/health", "/models/demo/info", "/models/nothere/health")
    healthy, info, missing = [await server.http.get(path) for path in paths]

    assert (200, 404) == (healthy.status_code, missing.status_code)
    assert {"model_id": "demo", "model_pipeline_tag": "text-to-image"} == info.json()
    assert "There is no model 'nothere'." in missing.json()["error"]


@pytest.mark.parametrize(
    ("query", "parameters"),
    [
        ("seed=1&seed=2", {}),
        ("seed=1", {"seed": 2}),
        ("num_inference_steps=1", {"num_inference_steps": 1}),
        ("steps=1", {"num_inference_steps": 1}),
    ],
)
async def test_a_parameter_that_is_given_twice(server: Server, query: str, parameters: dict[str, Any]) -> None:
    """A parameter twice in the query, or in the query and in the body, is an error: none is dropped."""
    answer = await infer(server, f"/models/demo?{query}", inputs="x", parameters=parameters)

    assert 400 == answer.status_code
    assert answer.json()["param"] in (query.partition("=")[0], *parameters)
    assert [] == server.generations.requests


async def test_null_in_the_body_leaves_the_query(server: Server) -> None:
    """Null is no value, so that it replaces none."""
    answer = await infer(server, "/models/demo?seed=4", inputs="x", parameters={"seed": None})

    assert (200, 4) == (answer.status_code, server.asked.seed)


@pytest.mark.parametrize(
    "prompt", ["Data: flowing through a city", "data:art of the century", "data: red, green", "DATA:image/png of a cat"]
)
async def test_a_prompt_that_begins_as_a_data_uri(server: Server, prompt: str) -> None:
    """Text is a prompt unless it has the form of a data URI up to the comma."""
    answer = await infer(server, inputs=prompt)

    assert 200 == answer.status_code
    assert {"prompt": prompt} == server.asked.params


@pytest.mark.parametrize(
    "head", ["image/png;base64", "image/png; charset=utf-8;base64", "image/svg+xml", ";base64", ""]
)
async def test_forms_of_a_data_uri(server: Server, head: str) -> None:
    """A data URI may have a media type and parameters, or neither."""
    answer = await infer(server, inputs=f"data:{head},{ENCODED}", parameters={"prompt": None})

    assert 200 == answer.status_code
    assert ["image"] == list(server.asked.inputs)
