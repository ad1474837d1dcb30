"""Pictures that steer a call, on a real server and the embedded model: ControlNets and T2I-Adapters, one and several."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from PIL import Image

from octabox import demo
from serving import running_server
from steering import OTHER, PARAMS, SCENE, drawn, outline
from trained import EDGES, SKETCH, overlap

#: Configurations by name: what stands under ``components``.
MODELS = {
    "both": f"{{controlnet: [{{model: {EDGES}}}, {{model: {EDGES}}}]}}",
    "sketch": f"{{adapter: {{model: {SKETCH}}}}}",
    "lacking": f"{{controlnet: [{{model: {EDGES}}}, {{model: nowhere}}]}}",
    "listed": f"{{vae: [{{model: {EDGES}}}, {{model: {EDGES}}}]}}",
}


@pytest.fixture(scope="module")
def http(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """Return a client of a server with these models."""
    models = tmp_path_factory.mktemp("models")
    for name, components in MODELS.items():
        (models / f"{name}.yaml").write_text(f"model: {demo.FOLDER}\ncomponents: {components}\n")
    with running_server(models) as address, httpx.Client(base_url=address, timeout=120, trust_env=False) as client:
        yield client


def encoded(picture: Image.Image) -> str:
    """Return a picture as a request holds it."""
    file = io.BytesIO()
    picture.save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def ask(http: httpx.Client, model: str, **params: Any) -> httpx.Response:
    """Ask for a picture."""
    body = {"model": model, "params": PARAMS | params, "seed": 0, "output": {"response": "b64_json"}}
    return http.post("/v1/generations", json=body)


def made(answer: httpx.Response) -> Image.Image:
    """Return the picture of an answer."""
    assert answer.is_success, answer.text
    return Image.open(io.BytesIO(base64.b64decode(answer.json()["outputs"][0]["b64_json"])))


def test_each_of_two_controlnets_steers_and_leaves_no_trace(http: httpx.Client) -> None:
    """The one whose strength is not 0 is followed; the next request without pictures is as the first one."""
    before = made(ask(http, "both")).tobytes()
    for scales, scene, other in (([1, 0], SCENE, OTHER), ([0, 1], OTHER, SCENE)):
        pictures = [encoded(outline()), encoded(outline(OTHER))]
        answer = ask(http, "both", image=pictures, controlnet_conditioning_scale=scales)
        told = answer.json()["outputs"][0]["metadata"]

        assert overlap(made(answer), drawn(scene)) > 0.8 > overlap(made(answer), drawn(other))
        assert ("StableDiffusionControlNetPipeline", scales) == (
            told["pipeline"],
            told["params"]["controlnet_conditioning_scale"],
        )
        assert before == made(ask(http, "both")).tobytes()


def test_a_form_brings_several_files_of_one_name(http: httpx.Client) -> None:
    """OpenAI's edits take the pictures of all ControlNets, where the task is the one that they steer."""
    files = [("image[]", (f"{place}.png", base64.b64decode(encoded(outline())))) for place in range(2)]
    data = {
        "model": "both",
        "prompt": PARAMS["prompt"],
        "seed": "0",
        "task": "text-to-image",
        "num_inference_steps": "8",
    }
    answer = http.post("/v1/images/edits", data={**data, "response_format": "b64_json"}, files=files)

    assert answer.is_success, answer.text
    picture = Image.open(io.BytesIO(base64.b64decode(answer.json()["data"][0]["b64_json"])))
    assert overlap(picture, drawn()) > 0.7


def test_an_adapter_steers_too(http: httpx.Client) -> None:
    """It is a component as a ControlNet is, and its picture the parameter `image`."""
    before = made(ask(http, "sketch")).tobytes()
    picture = made(ask(http, "sketch", image=encoded(outline()), adapter_conditioning_scale=1))

    assert overlap(picture, drawn()) > 0.7
    assert before == made(ask(http, "sketch", image=encoded(outline()), adapter_conditioning_scale=0)).tobytes()
    assert before == made(ask(http, "sketch")).tobytes()


@pytest.mark.parametrize(
    ("model", "params", "parameter", "said"),
    [
        ("both", {"image": 1}, "image", "is 1 picture"),
        (
            "both",
            {"image": 2, "controlnet_conditioning_scale": [1, 1, 1]},
            "controlnet_conditioning_scale",
            "list of 2",
        ),
        ("both", {"image": 2, "control_guidance_start": [0, 1]}, "control_guidance_start", "before it begins"),
        ("sketch", {"image": 2}, "image", "one component 'adapter'"),
        (
            "sketch",
            {"image": 1, "adapter_conditioning_scale": "much"},
            "adapter_conditioning_scale",
            "must be a number",
        ),
    ],
)
def test_wrong_requests_are_refused(
    http: httpx.Client, model: str, params: dict[str, Any], parameter: str, said: str
) -> None:
    """Before anything runs, with the parameter that is wrong."""
    count = params["image"]
    pictures = [encoded(outline())] * count if count > 1 else encoded(outline())
    answer = ask(http, model, **{**params, "image": pictures})
    error = answer.json()["error"]

    assert (400, parameter) == (answer.status_code, error["param"]), answer.text
    assert said in error["message"]


@pytest.mark.parametrize(
    ("model", "said"), [("lacking", "controlnet 2 of 2"), ("listed", "takes one component 'vae', not a list")]
)
def test_wrong_configurations_are_told_apart(http: httpx.Client, model: str, said: str) -> None:
    """A model that cannot be loaded names the component, and which of a list."""
    answer = ask(http, model)

    assert answer.is_server_error
    assert said in answer.json()["error"]["message"]
