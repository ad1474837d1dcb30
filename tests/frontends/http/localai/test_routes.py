"""LocalAI's own routes, and the examples of its documentation as they stand there."""

import asyncio
import base64
import io
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from PIL import Image

from fakes import Server, sample_image
from octabox.errors import OutOfMemoryError
from octabox.prompts.names import Syntax
from octabox.types import Artifact

VIDEO = Artifact("video", "video/mp4", b"a clip", 7, {"fps": 16})

#: A data URI and raw base64, broken into lines as `base64` writes it, of one image.
RAW = base64.encodebytes(sample_image()).decode()
URI = "data:image/png;base64," + base64.b64encode(sample_image()).decode()


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    """Return a server over fakes, with models for repainting, for larger images and for videos."""
    server = Server()
    server.add("painter", "StableDiffusionInpaintPipeline")
    server.add("larger", "StableDiffusionUpscalePipeline")
    server.add("wan", "WanImageToVideoPipeline")
    server.add("ltx", "LTXPipeline")
    server.add("svd", "StableVideoDiffusionPipeline")
    server.add("sd", "StableDiffusionImg2ImgPipeline")
    yield server
    await server.http.aclose()


def opened(content: bytes) -> Image.Image:
    """Return an image."""
    return Image.open(io.BytesIO(content))


async def repainted(server: Server, path: str = "/v1/images/inpainting", **fields: Any) -> httpx.Response:
    """Ask for a part of an image to be painted again; a field that is None is left out."""
    data = {"model": "painter", "prompt": "a cat", **fields}
    files = {"image": ("i.png", sample_image()), "mask": ("m.png", sample_image("white", mode="L"))}
    files = {name: file for name, file in files.items() if data.pop(name, "") is not None}
    return await server.http.post(path, data={k: v for k, v in data.items() if v is not None}, files=files)


async def enlarged(server: Server, path: str = "/v1/images/upscale", side: int = 4, **fields: Any) -> httpx.Response:
    """Ask for a larger image; the fake one makes 16x16 of everything."""
    files = {"image": ("i.png", sample_image("red", (side, side)))}
    return await server.http.post(path, data={"model": "larger", **fields}, files=files)


async def filmed(server: Server, **fields: Any) -> httpx.Response:
    """Ask for a video."""
    server.generations.made = VIDEO
    return await server.http.post("/video", json={"model": "ltx", "prompt": "waves", **fields})


@pytest.mark.parametrize("path", ["/v1/images/generations", "/images/generations"])
async def test_the_documented_text_to_image(server: Server, path: str) -> None:
    """The bar parts the prompts, `step` and `size` are honoured, and the answer's link leads to the image (G6, D3)."""
    server.add("animagine-xl", "StableDiffusionXLPipeline")
    body = {
        "prompt": "<positive prompt>|<negative prompt>",
        "model": "animagine-xl",
        "step": 51,
        "size": "1024x1024",
    }
    answer = await server.http.post(path, json=body)

    assert {
        "prompt": "<positive prompt>",
        "negative_prompt": "<negative prompt>",
        "num_inference_steps": 51,
    } == server.asked.params
    assert {"width": 1024, "height": 1024} == server.asked.optional_params
    url = answer.json()["data"][0]["url"]
    assert "png" in url
    assert (1024, 1024) == opened((await server.http.get(url)).content).size


@pytest.mark.parametrize("model", ["stablediffusion-edit", "stablediffusion-depth"])
async def test_the_documented_image_to_image_and_depth_to_image(server: Server, model: str) -> None:
    """An image stands in the JSON under its pipeline's own name, as base64 with or without line breaks, or as a data URI."""
    server.add(model, "StableDiffusionImg2ImgPipeline")
    for image in (RAW, URI):
        body = {"image": image, "prompt": "a sky background", "size": "512x512", "model": model}
        answer = await server.http.post("/v1/images/generations", json=body)

        assert 200 == answer.status_code
        assert image == server.asked.params["image"]


async def test_a_negative_prompt_in_json_counts(server: Server) -> None:
    """It is sent, and then the bar parts nothing."""
    await server.generate(model="demo", prompt="a|b", negative_prompt="blurry")

    assert {"prompt": "a|b", "negative_prompt": "blurry"} == server.asked.params


async def test_several_images_differ_and_say_their_seeds(server: Server) -> None:
    """Of a given seed each image takes the next (G5), and 0 is a seed."""
    data = (await server.generate(model="demo", prompt="x", n=3, seed=0, response_format="b64_json")).json()["data"]

    assert [0, 1, 2] == [item["seed"] for item in data]
    assert 3 == len({item["b64_json"] for item in data})


async def test_all_reference_images_count(server: Server) -> None:
    """LocalAI takes the first alone (G4)."""
    await server.generate(model="demo", prompt="x", ref_images=[RAW, URI], file=RAW)

    assert [RAW, RAW, URI] == server.asked.params["image"]


async def test_no_size_is_the_models_own(server: Server) -> None:
    """Nothing is asked for in place of what the model is best at (G13)."""
    for size in ({}, {"size": "auto"}, {"size": ""}):
        await server.generate(model="demo", prompt="x", **size)

        assert {} == server.asked.optional_params


@pytest.mark.parametrize("path", ["/v1/images/inpainting", "/images/inpainting"])
async def test_inpainting_repaints(server: Server, path: str) -> None:
    """Image and mask arrive as what they are (G3), and the link leads to the result."""
    answer = await repainted(server, path, steps="25", negative_prompt="blurry", seed="3", strength="0.9")
    told = answer.json()

    assert "inpainting" == server.asked.task
    assert (sample_image(),) == server.asked.inputs["image"]
    assert (sample_image("white", mode="L"),) == server.asked.inputs["mask_image"]
    assert {"prompt": "a cat", "negative_prompt": "blurry", "num_inference_steps": 25, "strength": 0.9} == (
        server.asked.params
    )
    assert {} == server.asked.optional_params
    assert [3] == [item["seed"] for item in told["data"]]
    assert (16, 16) == opened((await server.http.get(told["data"][0]["url"])).content).size


@pytest.mark.parametrize(
    ("fields", "parameter"),
    [
        ({"model": None}, "model"),
        ({"prompt": None}, "prompt"),
        ({"prompt": " "}, "prompt"),
        ({"image": None}, "image"),
        ({"mask": None}, "mask"),
        ({"n": "none"}, "n"),
        ({"size": "big"}, "size"),
        ({"response_format": "gif"}, "response_format"),
        ({"output_format": "mp4"}, "output_format"),
    ],
)
async def test_inpainting_that_is_refused(server: Server, fields: dict[str, Any], parameter: str) -> None:
    """What is missing or wrong is named, with status 400."""
    answer = await repainted(server, **fields)

    assert (400, parameter) == (answer.status_code, answer.json()["error"]["param"])


@pytest.mark.parametrize(("scale", "side"), [(None, 16), ("2", 8), ("4", 16)])
@pytest.mark.parametrize("path", ["/v1/images/upscale", "/images/upscale"])
async def test_an_image_becomes_larger(server: Server, path: str, scale: str | None, side: int) -> None:
    """A model that makes it four times as large can make it twice as large (G15); the answer says that it was scaled."""
    answer = await enlarged(server, path, scale=scale or "")
    told = answer.json()

    assert (side, side) == opened((await server.http.get(told["data"][0]["url"])).content).size
    assert ("image-to-image", "") == (server.asked.task, server.asked.params["prompt"])
    assert (scale == "2") == any("scaled to" in warning for warning in told["warnings"])


async def test_a_model_is_asked_again_until_it_is_enough(server: Server) -> None:
    """One that makes it twice as large is asked twice for four times."""
    made = iter([sample_image("red", (16, 16)), sample_image("red", (32, 32))])
    generate = server.generations.generate

    async def growing(request: Any, models: Any = None) -> Any:
        server.generations.made = Artifact("image", "image/png", next(made), 1)
        return await generate(request, models)

    server.generations.generate = growing  # type: ignore[method-assign]
    answer = await enlarged(server, side=8, scale="4", response_format="b64_json")

    assert (32, 32) == opened(base64.b64decode(answer.json()["data"][0]["b64_json"])).size
    assert 2 == len(server.generations.requests)


async def test_nothing_is_enlarged_without_a_model_for_it(server: Server) -> None:
    """One that paints over images is refused before it runs, one that made none larger afterwards (G15)."""
    painted, same = await enlarged(server, model="sd"), await enlarged(server, side=16)

    assert [400, 400] == [painted.status_code, same.status_code]
    assert 1 == len(server.generations.requests)
    assert "does not make images larger" in same.json()["error"]["message"]


@pytest.mark.parametrize(
    ("fields", "parameter"), [({"scale": "3"}, "scale"), ({"scale": "x"}, "scale"), ({"model": ""}, "model")]
)
async def test_upscaling_that_is_refused(server: Server, fields: dict[str, Any], parameter: str) -> None:
    """A scale is 2 or 4."""
    answer = await enlarged(server, **fields)

    assert (400, parameter) == (answer.status_code, answer.json()["error"]["param"])


async def test_upscaling_needs_a_file(server: Server) -> None:
    """No image, a link, and what is no image are refused."""
    for files in ({}, {"image": (None, "https://example.com/a.png")}, {"image": ("a.png", b"none")}):
        answer = await server.http.post("/v1/images/upscale", data={"model": "larger"}, files={**files, "x": b""})

        assert (400, "image") == (answer.status_code, answer.json()["error"]["param"])


async def test_a_video_is_waited_for(server: Server) -> None:
    """The answer has a link to it, or the video itself."""
    told = (await filmed(server)).json()
    inside = (await filmed(server, response_format="b64_json")).json()

    assert b"a clip" == (await server.http.get(told["data"][0]["url"])).content
    assert b"a clip" == base64.b64decode(inside["data"][0]["b64_json"])
    assert {"id", "created", "index", "seed"} <= {*told, *told["data"][0]}


async def test_numbers_of_a_video(server: Server) -> None:
    """Size, length, rate, steps and guidance go to the pipeline by its own names (G9, G12)."""
    numbers = {"width": 64, "height": 32, "num_frames": 9, "step": 3, "cfg_scale": 0, "fps": 8, "seed": 0}
    await filmed(server, **numbers, negative_prompt="blurry", params={"max_sequence_length": "16"})

    assert {
        "prompt": "waves",
        "negative_prompt": "blurry",
        "width": 64,
        "height": 32,
        "num_frames": 9,
        "num_inference_steps": 3,
        "guidance_scale": 0,
        "frame_rate": 8,
        "max_sequence_length": 16,
    } == server.asked.params
    assert (0, 8) == (server.asked.seed, server.asked.output.fps)


async def test_what_is_not_given_is_the_models_own(server: Server) -> None:
    """Zeros and empty texts stand for that, and are not sent (G13)."""
    empty = {"width": 0, "height": 0, "num_frames": 0, "fps": 0, "step": 0, "seconds": 0, "seed": -1}
    await filmed(server, **empty, negative_prompt="", params=None, start_image="")

    assert {"prompt": "waves"} == server.asked.params
    assert ({}, None, None) == (server.asked.optional_params, server.asked.seed, server.asked.output.fps)


async def test_seconds_and_size_are_honoured(server: Server) -> None:
    """LocalAI reads them and does nothing with them."""
    await filmed(server, seconds="2", fps=8, size="64x32")

    assert {"num_frames": 17, "width": 64, "height": 32} == server.asked.optional_params


@pytest.mark.parametrize("field", ["start_image", "input_reference"])
async def test_a_video_begins_with_an_image(server: Server, field: str) -> None:
    """It goes to the parameter that the pipeline has for it (G11)."""
    await filmed(server, model="wan", **{field: RAW}, end_image=URI)

    assert {"image": (RAW,), "last_image": (URI,)} == server.asked.inputs
    assert "prompt" in server.asked.params


async def test_a_model_without_words_says_so(server: Server) -> None:
    """The prompt that clients always send is a warning, and no error (G9, G11)."""
    answer = await filmed(server, model="svd", start_image=RAW)

    assert (200, {"prompt": "waves"}) == (answer.status_code, server.asked.optional_params)


async def test_the_first_model_that_makes_videos(server: Server) -> None:
    """It is taken where none is named."""
    await filmed(server, model=None)

    assert "wan" == server.asked.model


@pytest.mark.parametrize(
    ("fields", "parameter"),
    [
        ({"end_image": RAW}, "end_image"),
        ({"audio": RAW}, "audio"),
        ({"model": "demo"}, None),
        ({"model": "sd"}, "model"),
        ({"model": "svd", "end_image": RAW, "start_image": RAW}, "end_image"),
        ({"start_image": RAW, "input_reference": RAW}, "input_reference"),
        ({"num_frames": 9, "seconds": 2}, "num_frames"),
        ({"step": 3, "params": {"num_inference_steps": "4"}}, "num_inference_steps"),
        ({"step": 3, "params": {"step": "4"}}, "step"),
        ({"width": "wide"}, "width"),
        ({"width": -1}, "width"),
        ({"seed": True}, "seed"),
        ({"response_format": "x"}, "response_format"),
    ],
)
async def test_a_video_that_is_refused(server: Server, fields: dict[str, Any], parameter: str | None) -> None:
    """What cannot be is status 400, and named as the client named it (G2)."""
    answer = await filmed(server, **fields)

    assert 400 == answer.status_code
    assert parameter is None or parameter == answer.json()["error"]["param"]
    assert [] == server.generations.requests


async def test_errors_have_their_own_status(server: Server) -> None:
    """Neither is a server's fault a client's, nor is a failure a link to nothing (G1, G2)."""
    unknown = await filmed(server, model="none")
    server.generations.error = OutOfMemoryError("Too large.")

    assert [404, 503, 503, 503] == [
        unknown.status_code,
        (await filmed(server)).status_code,
        (await repainted(server)).status_code,
        (await enlarged(server)).status_code,
    ]


async def test_a_client_that_goes_away_ends_the_work(server: Server) -> None:
    """A video that nobody waits for is not made (S3)."""
    server.generations.hang = True
    task = asyncio.create_task(filmed(server))
    await asyncio.wait_for(server.generations.begun.wait(), 5)
    task.cancel()
    await asyncio.wait_for(server.generations.cancelled.wait(), 5)

    assert server.generations.cancelled.is_set()


@pytest.mark.parametrize("path", ["/video", "/images/generations", "/images/inpainting", "/v1/images/upscale"])
async def test_a_key_is_asked_for(path: str) -> None:
    """Routes without a version are behind the keys as well."""
    server = Server(api_keys="secret")

    assert 401 == (await server.http.post(path)).status_code


@pytest.mark.parametrize(("prompt", "optional"), [("a cat", {"prompt": "a cat"}), (None, {})])
async def test_inpainting_by_a_model_that_takes_no_prompt(
    server: Server, prompt: str | None, optional: dict[str, str]
) -> None:
    """A prompt is optional there: some clients always send one, others none."""
    server.add("example", "PaintByExamplePipeline")
    answer = await repainted(server, model="example", prompt=prompt, example_image="https://example.org/a.png")

    assert 200 == answer.status_code
    assert {"example_image": "https://example.org/a.png"} == server.asked.params
    assert optional == server.asked.optional_params


async def test_upscaling_by_a_model_that_takes_no_prompt(server: Server) -> None:
    """A prompt is optional there, and the bar in it is text."""
    server.add("ldm", "LDMSuperResolutionPipeline")
    answer = await enlarged(server, model="ldm", prompt="a cat|dogs")

    assert 200 == answer.status_code
    assert {} == server.asked.params
    assert {"prompt": "a cat|dogs"} == server.asked.optional_params


@pytest.mark.parametrize(
    ("model", "pipeline", "params"),
    [
        ("ltx2", "LTX2DFRPipeline", {"prompt": "waves | foam"}),
        ("ltx", "LTXPipeline", {"prompt": "waves", "negative_prompt": "foam"}),
    ],
)
async def test_a_bar_in_the_prompt_of_a_video(
    server: Server, model: str, pipeline: str, params: dict[str, str]
) -> None:
    """It is text for a pipeline without a negative prompt."""
    server.add(model, pipeline)
    await filmed(server, model=model, prompt="waves | foam")

    assert params == {name: value for name, value in server.asked.params.items() if "prompt" in name}
    assert "negative_prompt" not in server.asked.optional_params


@pytest.mark.parametrize(("syntax", "prompts"), [("plain", ("a cat", "dog")), ("a1111", ("a cat|dog", None))])
async def test_a_bar_belongs_to_the_syntax_of_the_server(
    server: Server, syntax: Syntax, prompts: tuple[str, str | None]
) -> None:
    """Every route leaves a bar in a prompt whose syntax, by the model or the server, gives it a meaning."""
    settings = server.ctx.settings.model_copy(update={"prompt_syntax": syntax})
    object.__setattr__(server.ctx, "settings", settings)
    server.add("painted", "StableDiffusionPipeline")
    answers = [
        (answer, server.asked.params)
        for send in (repainted, enlarged)
        if (answer := await send(server, prompt="a cat|dog")).is_success
    ]
    answers.append((await server.generate(model="painted", prompt="a cat|dog"), server.asked.params))
    answers.append((await filmed(server, prompt="a cat|dog"), server.asked.params))

    assert 4 == len(answers)
    assert {prompts} == {(params["prompt"], params.get("negative_prompt")) for _, params in answers}
