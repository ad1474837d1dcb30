"""Workflows over the native API of a real server, with the embedded model."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from PIL import Image

from demo_pictures import Scene, border_colour, centre_colour, draw

PATH = "/v1/generations"
PARAMS = {"prompt": "a red circle on a white background", "num_inference_steps": 8, "guidance_scale": 3}


@pytest.fixture(scope="module")
def http(address: str) -> Iterator[httpx.Client]:
    """Return a client of a server."""
    with httpx.Client(base_url=address, timeout=240, trust_env=False) as client:
        yield client


@pytest.fixture(scope="module")
def before(http: httpx.Client) -> bytes:
    """Return the image of a good request."""
    return image(http.post(PATH, json=body({"upscale": 2}))).tobytes()


def body(workflow: Any, **change: Any) -> dict[str, Any]:
    """Return the body of a request."""
    return {
        "model": "demo",
        "params": PARAMS,
        "seed": 0,
        "workflow": workflow,
        "output": {"response": "b64_json"},
        **change,
    }


def image(answer: httpx.Response) -> Image.Image:
    """Return the image of an answer."""
    assert answer.is_success, answer.text
    return Image.open(io.BytesIO(base64.b64decode(answer.json()["outputs"][0]["b64_json"])))


def file(shade: str | None = None) -> bytes:
    """Return an image of a shape, or a mask whose middle is white."""
    made = draw(Scene("star", "red", "white"))
    if shade is not None:
        made = Image.new("L", made.size)
        made.paste(shade, (44, 44, 84, 84))
    content = io.BytesIO()
    made.save(content, "PNG")
    return content.getvalue()


def test_json(http: httpx.Client) -> None:
    """A second pass and an enlargement; the answer tells both."""
    answer = http.post(PATH, json=body({"hires": {"scale": 1.5}, "upscale": 2}))
    (output,) = answer.json()["outputs"]

    assert (384, 384) == image(answer).size
    assert ("red", "white") == (centre_colour(image(answer)), border_colour(image(answer)))
    assert {"hires", "upscale"} == set(output["metadata"]["workflow"])


def test_a_form_with_files(http: httpx.Client) -> None:
    """A mask's region is painted, and the rest of the image is what was sent."""
    fields = {
        "model": "demo",
        "params": json.dumps({**PARAMS, "prompt": "a green circle on a white background", "strength": 1.0}),
        "workflow": json.dumps({"inpaint": {"padding": 8, "mask_blur": 2}}),
        "output": json.dumps({"response": "b64_json"}),
        "seed": "0",
    }
    made = image(http.post(PATH, data=fields, files={"image": file(), "mask_image": file("white")})).convert("RGB")
    sent = Image.open(io.BytesIO(file())).convert("RGB")

    assert "green" == centre_colour(made)
    assert sent.crop((0, 0, 128, 36)).tobytes() == made.crop((0, 0, 128, 36)).tobytes()


def test_events_tell_the_parts(http: httpx.Client) -> None:
    """Each progress says which part of how many it is of."""
    with http.stream("POST", PATH, json=body({"hires": 1.25}, stream=True)) as answer:
        told = [json.loads(line.removeprefix("data: ")) for line in answer.iter_lines() if line.startswith("data: {")]
    parts = {(each["part"], each["parts"]) for each in told if "part" in each}

    assert {(1, 2), (2, 2)} == parts
    assert {"width": 160, "height": 160} == told[-1]["outputs"][0]["metadata"]["size"]


@pytest.mark.parametrize(
    ("workflow", "parameter"),
    [
        ({"hires": {"scale": "big"}}, "workflow.hires.scale"),
        ({"hire": 2}, "workflow.hire"),
        ("hires", "workflow"),
        ([1], "workflow"),
        ({"outpaint": 16}, "image"),
        ({"upscale": {"upscaler": "x"}}, "workflow.upscale.upscaler"),
        ({"upscale": {"scale": 1e300}}, "workflow.upscale.scale"),
        ({"hires": {"width": 16000, "height": 16000}}, "workflow.hires.width"),
    ],
)
def test_bad_workflows(http: httpx.Client, before: bytes, workflow: Any, parameter: str) -> None:
    """Each is a 400 that names the setting, and the next good request makes the same image."""
    answer = http.post(PATH, json=body(workflow))

    assert (400, parameter) == (answer.status_code, answer.json()["error"]["param"])
    assert before == image(http.post(PATH, json=body({"upscale": 2}))).tobytes()


def test_the_documentation_tells_the_parts(http: httpx.Client) -> None:
    """Each part's settings stand in the schema of a request, with their words."""
    paths = http.get("/openapi.json").json()["paths"]
    schema = paths[PATH]["post"]["requestBody"]["content"]["application/json"]["schema"]
    hires = schema["properties"]["workflow"]["properties"]["hires"]["anyOf"][0]

    assert {"upscaler", "scale", "strength", "steps"} <= set(hires["properties"])
    assert all(each["description"] for each in hires["properties"].values())
