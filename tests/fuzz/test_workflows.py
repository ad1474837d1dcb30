"""Workflows and cascades of any settings: each request has a typed response, and the next one is served as before."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import strategies as st
from PIL import Image

from fakes import sample_image
from fuzz.budget import fuzz
from fuzz.schemas import some_of, values_of
from fuzz.test_http import check_answer
from octabox import demo
from octabox.frontends.http.native.generations.schema import body_schema
from serving import running_server

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default"), pytest.mark.timeout(900)]

#: Seconds that any request may take: a cascade has several calls.
LIMIT = 120

#: The steps of a workflow, with the schema of their settings.
WORKFLOW: dict[str, Any] = body_schema()["properties"]["workflow"]

#: Names that some settings are of.
NAMES = st.sampled_from(["demo", "two", "three", "lanczos", "latent", "nothing", "x", "two:1", ""])

IMAGE = f"data:image/png;base64,{base64.b64encode(sample_image(size=(64, 40))).decode()}"

#: Parameters of the stages and of the request itself.
PARAMS = st.fixed_dictionaries(
    {"prompt": st.sampled_from(["a red circle", "", "(a:1.2) <lora:x:1>", "a|b", ["a", "b"]])},
    optional={
        "image": st.just(IMAGE),
        "mask_image": st.just(IMAGE),
        "width": st.sampled_from([64, 96, 8, 0, 72]),
        "height": st.sampled_from([64, 40, 65]),
        "strength": st.sampled_from([0, 0.01, 0.5, 1, 2]),
        "num_inference_steps": st.sampled_from([1, 2, 3, 4, 0]),
        "guidance_scale": st.sampled_from([0, 1, 3, 1e9, -1]),
        "num_images_per_prompt": st.sampled_from([1, 2, 0]),
        "output_type": st.sampled_from(["latent", "pil", "np", "x"]),
        "denoising_end": st.sampled_from([0.5, 2]),
    },
)


STEPS = {name: values_of(each, NAMES) for name, each in WORKFLOW["properties"].items()}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[httpx.Client, Path]]:
    """Return a client of a server with cascades of the embedded model, and its log."""
    folder = tmp_path_factory.mktemp("fuzz")
    models, log = folder / "models", folder / "log"
    models.mkdir()
    stages = ["demo", {"model": "demo", "task": "image-to-image", "params": {"strength": 0.5}}]
    (models / "demo.yaml").write_text(json.dumps({"model": str(demo.FOLDER), "defaults": {"num_inference_steps": 2}}))
    (models / "two.yaml").write_text(json.dumps({"stages": stages}))
    (models / "three.yaml").write_text(json.dumps({"stages": [*stages, stages[1]]}))
    flags = ["--log-file", str(log), "--max-image-pixels", "65536", "--max-steps", "4", "--max-outputs", "4"]
    with (
        running_server(models, *flags) as url,
        httpx.Client(base_url=url, timeout=LIMIT, trust_env=False) as client,
    ):
        yield client, log


def pixels_of(file: bytes) -> bytes:
    """Return the pixels of an image."""
    with Image.open(io.BytesIO(file)) as image:
        content: bytes = image.tobytes()
        return content


@pytest.mark.parametrize("model", ["demo", "two", "three"])
def test_workflows_of_any_settings(server: tuple[httpx.Client, Path], model: str) -> None:
    """Of a model and of cascades of two and three stages; afterwards the same request has the same image."""
    client, log = server
    good = {"model": model, "prompt": "a red circle", "seed": 1, "size": "64x64", "response_format": "b64_json"}

    def check(request: tuple[dict[str, Any], dict[str, Any]]) -> None:
        params, workflow = request
        body = {"model": model, "params": params, "workflow": workflow, "seed": 1}
        content = json.dumps(body).encode()
        answer = client.post("/v1/generations", content=content, headers={"content-type": "application/json"})
        check_answer(answer.status_code, answer.content, log)

    def image() -> bytes:
        answer = client.post("/v1/images/generations", json=good).raise_for_status().json()
        # Its metadata has the seconds that each stage took.
        return pixels_of(base64.b64decode(answer["data"][0]["b64_json"]))

    before = image()
    assert fuzz(check, st.tuples(PARAMS, some_of({}, STEPS)), 0.07)
    assert before == image()
