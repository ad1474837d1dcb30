"""The options of a caller whose model is removed or renamed while the server runs."""

from __future__ import annotations

import json

import pytest

from a1111_bodies import IMAGE
from fakes import Server
from octabox.frontends.http.responses import WARNINGS
from octabox.types import ModelInfo

PREFIX = "/sdapi/v1"

#: The option for the model.
CHECKPOINT = "sd_model_checkpoint"

#: The warning that its value has no effect.
WARNING = f"The option '{CHECKPOINT}' is 'gone', and has no effect: There is no model 'gone'."


@pytest.fixture
async def server() -> Server:
    """Return a server on which the caller's model has been removed."""
    server = Server()
    removed = ModelInfo("gone", "/secret/gone", "StableDiffusionPipeline", ("text-to-image",))
    server.models.infos.append(removed)
    answer = await server.http.post(f"{PREFIX}/options", json={CHECKPOINT: "gone", "samples_format": "webp"})
    assert answer.is_success
    server.models.infos.remove(removed)
    server.models.loaded.clear()
    return server


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "options", None),
        ("POST", "options", {"jpeg_quality": 50}),
        ("POST", "reload-checkpoint", {}),
        ("POST", "unload-checkpoint", {}),
    ],
)
async def test_it_is_as_one_that_was_not_set(server: Server, method: str, path: str, body: object) -> None:
    """Each route has an effect, on the first model, and a header has the warning."""
    answer = await server.http.request(method, f"{PREFIX}/{path}", json=body)

    assert answer.is_success, answer.text
    assert WARNING == answer.headers[WARNINGS]


@pytest.mark.parametrize("route", ["txt2img", "img2img"])
async def test_requests_have_a_warning(server: Server, route: str) -> None:
    """The other options of the caller stay; one that names a model itself has no warning."""
    body = {"prompt": "x", **({"init_images": [IMAGE]} if route == "img2img" else {})}
    answer = await server.http.post(f"{PREFIX}/{route}", json=body)
    named = await server.http.post(f"{PREFIX}/{route}", json={**body, "override_settings": {CHECKPOINT: "demo"}})

    assert WARNING in answer.json()["warnings"]
    assert "webp" == server.asked.output.format
    assert WARNING not in json.loads(named.json()["info"])["warnings"]


async def test_another_one_can_be_set(server: Server) -> None:
    """Without a restart of the server, and without a warning; it is used."""
    answer = await server.http.post(f"{PREFIX}/options", json={CHECKPOINT: "org/painter"})
    assert (200, None) == (answer.status_code, answer.headers.get(WARNINGS))

    kept = (await server.http.get(f"{PREFIX}/options")).json()
    assert kept[CHECKPOINT].startswith("org/painter [")
    assert "webp" == kept["samples_format"]


async def test_one_that_is_back_is_used_again(server: Server) -> None:
    """The option is kept, as a file that is written anew is missing for a moment."""
    server.models.infos.append(ModelInfo("gone", "/secret/gone", "StableDiffusionPipeline", ("text-to-image",)))
    answer = await server.http.get(f"{PREFIX}/options")

    assert answer.json()[CHECKPOINT].startswith("gone [")
    assert WARNINGS not in answer.headers
