"""Images that steer a call or are its prompt, on a real server and the embedded model: one and several."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from control import OTHER, PARAMS, SCENE, drawn, outline
from ip_adapters import save_all
from octabox import demo
from trained import EDGES, SKETCH, overlap

pytestmark = pytest.mark.slow

#: Configurations by name: what stands under ``components``.
MODELS = {
    "both": f"{{controlnet: [{{model: {EDGES}}}, {{model: {EDGES}}}]}}",
    "sketch": f"{{adapter: {{model: {SKETCH}}}}}",
    "lacking": f"{{controlnet: [{{model: {EDGES}}}, {{model: nowhere}}]}}",
    "listed": f"{{vae: [{{model: {EDGES}}}, {{model: {EDGES}}}]}}",
}


@pytest.fixture(scope="module")
def http(registry: Path, shared: httpx.Client, tmp_path_factory: pytest.TempPathFactory) -> httpx.Client:
    """Return a client of a server with these models."""
    for name, components in MODELS.items():
        (registry / f"{name}.yaml").write_text(f"model: {demo.FOLDER}\ncomponents: {components}\n")
    adapter = "{{model: {0}, subfolder: models, weight_name: {1}.safetensors, scale: 0.3}}"
    folder = save_all(tmp_path_factory.mktemp("adapters"))
    first, second, missing = (adapter.format(folder, name) for name in ("first", "second", "third"))
    for name, adapters in (("prompted", first), ("paired", f"[{first}, {second}]"), ("absent", missing)):
        (registry / f"{name}.yaml").write_text(f"model: {demo.FOLDER}\nip_adapters: {adapters}\n")
    return shared


def encoded(picture: Image.Image) -> str:
    """Return an image as a request holds it."""
    file = io.BytesIO()
    picture.save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def ask(http: httpx.Client, model: str, **params: Any) -> httpx.Response:
    """Ask for an image."""
    body = {"model": model, "params": PARAMS | params, "seed": 0, "output": {"response": "b64_json"}}
    return http.post("/v1/generations", json=body)


def made(answer: httpx.Response) -> Image.Image:
    """Return the image of an answer."""
    assert answer.is_success, answer.text
    return Image.open(io.BytesIO(base64.b64decode(answer.json()["outputs"][0]["b64_json"])))


def test_each_of_two_controlnets_steers_and_leaves_no_trace(http: httpx.Client) -> None:
    """The one whose strength is not 0 is followed; the next request without images is as the first one."""
    before = made(ask(http, "both")).tobytes()
    for scales, scene, other in (([1, 0], SCENE, OTHER), ([0, 1], OTHER, SCENE)):
        images = [encoded(outline()), encoded(outline(OTHER))]
        answer = ask(http, "both", image=images, controlnet_conditioning_scale=scales)
        told = answer.json()["outputs"][0]["metadata"]

        assert overlap(made(answer), drawn(scene)) > 0.8 > overlap(made(answer), drawn(other))
        assert ("StableDiffusionControlNetPipeline", scales) == (
            told["pipeline"],
            told["params"]["controlnet_conditioning_scale"],
        )
        assert before == made(ask(http, "both")).tobytes()


def test_a_form_brings_several_files_of_one_name(http: httpx.Client) -> None:
    """OpenAI's edits take the images of all ControlNets, where the task is the one that they steer."""
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
    """It is a component as a ControlNet is, and its image the parameter `image`."""
    before = made(ask(http, "sketch")).tobytes()
    picture = made(ask(http, "sketch", image=encoded(outline()), adapter_conditioning_scale=1))

    assert overlap(picture, drawn()) > 0.7
    assert before == made(ask(http, "sketch", image=encoded(outline()), adapter_conditioning_scale=0)).tobytes()
    assert before == made(ask(http, "sketch")).tobytes()


def test_images_as_prompts_leave_no_trace(http: httpx.Client) -> None:
    """Their strength stands in the metadata; a request without them is that of the model itself, again and again."""
    plain = made(ask(http, "sketch")).tobytes()
    results = {}
    for scale in (None, 0, 1, 0.3):
        params = {} if scale is None else {"ip_adapter_scale": scale}
        answer = ask(http, "prompted", ip_adapter_image=encoded(drawn()), **params)
        results[scale] = made(answer).tobytes()

        assert (0.3 if scale is None else scale) == answer.json()["outputs"][0]["metadata"]["params"][
            "ip_adapter_scale"
        ]
        assert plain == made(ask(http, "prompted")).tobytes()

    assert plain == results[0]
    assert results[None] == results[0.3] != results[1]
    assert plain != results[0.3]


def test_two_images_as_prompts(http: httpx.Client) -> None:
    """Each IP-Adapter has its own image and its own strength."""
    images = [encoded(drawn()), encoded(drawn(OTHER))]
    first, second, both = (
        made(ask(http, "paired", ip_adapter_image=images, ip_adapter_scale=scale)).tobytes()
        for scale in ([0.5, 0], [0, 0.5], 0.5)
    )

    assert 3 == len({first, second, both})
    alone = ask(http, "prompted", ip_adapter_image=images[0], ip_adapter_scale=0.5)
    assert first == made(alone).tobytes()


def test_the_strength_is_in_the_schema(http: httpx.Client) -> None:
    """As a parameter of the models that have an IP-Adapter, with its default."""
    told = {name: http.get(f"/v1/models/{name}/schema").json()["properties"] for name in ("both", "prompted", "paired")}

    assert "ip_adapter_scale" not in told["both"]
    assert [0.3, 0.3] == [told[name]["ip_adapter_scale"]["default"] for name in ("prompted", "paired")]


def test_a_strength_without_an_image_is_a_warning(http: httpx.Client) -> None:
    """Nothing is dropped in silence."""
    answer = ask(http, "prompted", ip_adapter_scale=1)

    assert answer.json()["warnings"] == ["'ip_adapter_scale' has no effect without 'ip_adapter_image'."]


@pytest.mark.parametrize(
    ("model", "params", "parameter", "said"),
    [
        ("both", {"image": 1}, "image", "is 1 image"),
        (
            "both",
            {"image": 2, "controlnet_conditioning_scale": [1, 1, 1]},
            "controlnet_conditioning_scale",
            "list of 2",
        ),
        (
            "both",
            {"image": 2, "control_guidance_start": [0, 1]},
            "control_guidance_start",
            "must be less than 'control_guidance_end'",
        ),
        ("sketch", {"image": 2}, "image", "one component 'adapter'"),
        (
            "sketch",
            {"image": 1, "adapter_conditioning_scale": "much"},
            "adapter_conditioning_scale",
            "must be a number",
        ),
        ("prompted", {"ip_adapter_image": 2}, "ip_adapter_image", "has one IP-Adapter"),
        ("paired", {"ip_adapter_image": 1}, "ip_adapter_image", "has 2 IP-Adapters"),
        ("paired", {"ip_adapter_image": 2, "ip_adapter_scale": [1]}, "ip_adapter_scale", "has 1 number"),
        ("prompted", {"ip_adapter_image": 1, "ip_adapter_scale": 1e9}, "ip_adapter_scale", "from -10 to 10"),
        ("prompted", {"ip_adapter_image": 1, "ip_adapter_scale": "x"}, "ip_adapter_scale", "must be a number"),
        ("both", {"ip_adapter_image": 1}, "ip_adapter_image", "has no IP-Adapter"),
    ],
)
def test_wrong_requests_are_refused(
    http: httpx.Client, model: str, params: dict[str, Any], parameter: str, said: str
) -> None:
    """Before anything runs, with the parameter that is wrong."""
    picture, count = next(iter(params.items()))
    images = [encoded(outline())] * count if count > 1 else encoded(outline())
    answer = ask(http, model, **{**params, picture: images})
    error = answer.json()["error"]

    assert (400, parameter) == (answer.status_code, error["param"]), answer.text
    assert said in error["message"]


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("lacking", "controlnet 2 of 2"),
        ("listed", "takes one component 'vae', not a list"),
        ("absent", "There is no IP-Adapter"),
    ],
)
def test_wrong_configurations_are_told_apart(http: httpx.Client, model: str, said: str) -> None:
    """A model that cannot be loaded names the component, and which of a list."""
    answer = ask(http, model)

    assert answer.is_server_error
    assert said in answer.json()["error"]["message"]
