"""Two fields for one parameter: no route drops one of them without a word."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from fakes import Server, sample_image
from octabox.frontends.naming.parameters import ALIASES, IMAGES

#: Each route that takes short names: its path, and a body that it accepts.
ROUTES: dict[str, dict[str, Any]] = {
    "/v1/images/generations": {"model": "demo", "prompt": "a star"},
    "/v1/images/inpainting": {"model": "painter", "prompt": "a star"},
    "/v1/images/upscale": {"model": "larger", "prompt": "a star"},
    "/v1/videos": {"model": "ltx", "prompt": "waves"},
    "/video": {"model": "ltx", "prompt": "waves"},
    "/models/demo": {"inputs": "a star"},
}

#: Routes that take forms with files.
FORMS = ("/v1/images/inpainting", "/v1/images/upscale")

#: The value of each parameter with a short name.
VALUES = {"num_inference_steps": 4, "guidance_scale": 2.5, "negative_prompt": "rain"}

PAIRS = [(short, name) for short, name in ALIASES.items() if short not in IMAGES]


@pytest.fixture
def server() -> Server:
    """Return a server over fakes with a model for each route."""
    server = Server()
    server.add("painter", "StableDiffusionInpaintPipeline")
    server.add("larger", "StableDiffusionUpscalePipeline")
    server.add("ltx", "LTXPipeline")
    server.add("sana", "SanaVideoPipeline")
    server.add("audioldm", "AudioLDM2Pipeline")
    return server


async def post(server: Server, path: str, fields: dict[str, Any]) -> httpx.Response:
    """Send a request with further fields, where the route takes parameters."""
    body = ROUTES[path]
    if path in FORMS:
        files = {"image": ("i.png", sample_image()), "mask": ("m.png", sample_image("white", mode="L"))}
        files = {name: file for name, file in files.items() if name == "image" or "inpainting" in path}
        return await server.http.post(path, data={**body, **fields}, files=files)
    return await server.http.post(path, json=body | ({"parameters": fields} if "inputs" in body else fields))


@pytest.mark.parametrize("path", ROUTES)
@pytest.mark.parametrize(("short", "name"), PAIRS)
async def test_a_short_name_and_the_name(server: Server, path: str, short: str, name: str) -> None:
    """A parameter by its short name and by its own name is an error that names a field that was sent."""
    answer = await post(server, path, {short: VALUES[name], name: VALUES[name]})
    body = answer.json()
    error = body["error"] if isinstance(body["error"], dict) else body

    assert 400 == answer.status_code, body
    assert error["param"] in (short, name)
    assert [] == server.generations.requests


@pytest.mark.parametrize(
    ("path", "body", "params"),
    [
        ("/v1/audio/speech", {"model": "audioldm", "input": "rain", "prompt": "wind"}, ("prompt",)),
        ("/video", {"model": "ltx", "prompt": "x", "params": {"prompt": "y"}}, ("prompt",)),
        ("/video", {"model": "ltx", "prompt": "x", "num_frames": 9, "params": {"num_frames": 5}}, ("num_frames",)),
        ("/video", {"model": "sana", "prompt": "x", "num_frames": 9, "frames": 5}, ("frames", "num_frames")),
        ("/video", {"model": "sana", "prompt": "x", "num_frames": 9, "seconds": 1}, ("num_frames", "seconds")),
    ],
)
async def test_a_field_and_the_parameter_that_it_sets(
    server: Server, path: str, body: dict[str, Any], params: tuple[str, ...]
) -> None:
    """A field and the parameter that it sets are an error that names a field that was sent."""
    answer = await server.http.post(path, json=body)

    assert 400 == answer.status_code, answer.text
    assert answer.json()["error"]["param"] in params
    assert [] == server.generations.requests
