"""Faces that are restored by the fields of the web UI, over fakes."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from fakes import Server, sample_image

ROUTE = "/sdapi/v1/extra-single-image"
IMAGE = base64.b64encode(sample_image(size=(16, 8))).decode()


@pytest.fixture
def server() -> Server:
    """Return a server with two models that restore faces."""
    server = Server()
    server.add("RestoreFormer", "FaceRestorationPipeline")
    server.add("GFPGANv1.4", "FaceRestorationPipeline")
    return server


async def restored(server: Server, **body: Any) -> list[str]:
    """Return the warnings of an image with restored faces."""
    answer = await server.http.post(ROUTE, json={"image": IMAGE, **body})
    assert answer.is_success, answer.text
    assert answer.json()["image"]
    return [each for each in answer.json()["warnings"] if each != "served warning."]


async def test_each_field_is_a_model(server: Server) -> None:
    """The one of its name, else the first one, with a warning; the visibility is the strength."""
    quiet = await restored(server, gfpgan_visibility=0.5, codeformer_visibility=0)
    warned = await restored(server, codeformer_visibility=1, codeformer_weight=0.3)
    requests = [(each.model, dict(each.params)) for each in server.generations.requests]

    assert [("GFPGANv1.4", {"strength": 0.5}), ("RestoreFormer", {"strength": 1.0})] == requests
    assert [] == quiet
    assert ["'codeformer_visibility': 'RestoreFormer' restores faces", "'codeformer_weight' has no effect"] == [
        each.partition(",")[0].partition(":" if "weight" in each else "\n")[0] for each in warned
    ]


async def test_without_a_model() -> None:
    """It is a warning, and the image is unchanged."""
    warnings = await restored(Server(), gfpgan_visibility=1)

    assert ["'gfpgan_visibility' has no effect: there is no model that restores faces."] == warnings


@pytest.mark.parametrize("first", [False, True])
async def test_the_order(server: Server, *, first: bool) -> None:
    """Faces are restored in the image as it is, or after it is enlarged."""
    server.add("larger", "StableDiffusionUpscalePipeline")
    await restored(server, gfpgan_visibility=1, upscaler_1="larger", upscale_first=first)

    assert ["larger", "GFPGANv1.4"][:: 1 if first else -1] == [each.model for each in server.generations.requests]


async def test_the_option_names_the_model(server: Server) -> None:
    """That of `restore_faces`; another name is the first model, with a warning."""
    found = []
    for name in (None, "GFPGAN", "CodeFormer"):
        body = {"prompt": "x", "restore_faces": True, "override_settings": {"face_restoration_model": name}}
        answer = (await server.http.post("/sdapi/v1/txt2img", json=body)).json()
        found.append((server.asked.workflow["faces"]["model"], [each for each in answer["warnings"] if "face" in each]))

    assert ["RestoreFormer", "GFPGANv1.4", "RestoreFormer"] == [name for name, _ in found]
    assert [] == found[0][1] == found[1][1]
    assert ["'face_restoration_model': 'RestoreFormer' restores faces"] == [
        each.partition(",")[0] for each in found[2][1]
    ]
