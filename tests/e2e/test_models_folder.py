"""A real server over a folder of models that changes while it runs."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from diffusers import DDPMPipeline, DDPMScheduler

from octabox import demo
from tiny import unet


@pytest.fixture(scope="module")
def http(registry: Path, shared: httpx.Client) -> httpx.Client:
    """Return a client of a server over a folder with a tiny model that takes no prompt, and a configuration that is wrong."""
    DDPMPipeline(unet(), DDPMScheduler()).save_pretrained(registry / "noise")
    (registry / "wrong.yaml").write_text("model: [\n", encoding="utf-8")
    return shared


def names(http: httpx.Client) -> list[str]:
    """Return the names of all models that are listed."""
    return [model["id"] for model in http.get("/v1/models").json()["data"]]


def test_a_model_without_words_needs_none(http: httpx.Client) -> None:
    """A model that takes no prompt makes an image of nothing but a seed; a prompt has no effect, and the answer says so."""
    body = {"model": "noise", "num_inference_steps": 2, "seed": 1, "response_format": "b64_json"}
    made = http.post("/v1/images/generations", json=body)
    prompted = http.post("/v1/images/generations", json={**body, "prompt": "a star"})

    assert "unconditional-image-generation" == made.json()["task"]
    assert made.json()["data"][0]["b64_json"] == prompted.json()["data"][0]["b64_json"]
    assert [each for each in prompted.json()["warnings"] if each.startswith("'prompt' has no effect")]


def test_a_bad_file_keeps_nothing_else_back(http: httpx.Client) -> None:
    """The model beside a file that is wrong is listed; the embedded one is the last."""
    assert "noise" in names(http)
    assert "wrong" not in names(http)
    assert "demo" == names(http)[-1]


def test_a_change_is_seen_without_a_restart(http: httpx.Client, registry: Path) -> None:
    """A configuration that appears is listed and served; of one that goes, the model stays until it is unloaded."""
    file, before = registry / "shapes.yaml", names(http)
    file.write_text(f"model: {demo.FOLDER}\ndtype: float32\ndefaults: {{num_inference_steps: 2}}\n", encoding="utf-8")
    there = names(http)
    made = http.post("/v1/images/generations", json={"model": "shapes", "prompt": "a red star"})
    file.unlink()
    listed = {model["id"]: model for model in http.get("/v1/models").json()["data"]}

    assert {*before, "shapes"} == set(there)
    assert made.is_success
    assert {*before, "shapes"} == set(listed)
    assert "ready" == listed["shapes"]["status"]["state"] == http.get("/v1/models/shapes").json()["status"]["state"]
    assert http.post("/v1/models/shapes/unload").json()["unloaded"]
    assert before == names(http)
    assert 404 == http.post("/v1/models/shapes/unload").status_code
