"""Fields of the A1111 API whose meaning only an image shows, on a real server and the embedded model."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from a1111_images import BASE, STAR, ask, decoded, difference, encoded, image, info
from demo_pictures import Scene, border_colour, centre_colour, draw
from serving import running_server


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder in which the server stores images."""
    return tmp_path_factory.mktemp("outputs")


@pytest.fixture(scope="module")
def http(tmp_path_factory: pytest.TempPathFactory, outputs: Path) -> Iterator[httpx.Client]:
    """Return a client of a server of the embedded model that stores images."""
    models = tmp_path_factory.mktemp("models")
    with (
        running_server(models, "--a1111-outputs", str(outputs)) as address,
        httpx.Client(base_url=address, timeout=240, trust_env=False) as client,
    ):
        yield client


@pytest.mark.slow
def test_the_prompt_of_a_second_pass(http: httpx.Client) -> None:
    """A strong second pass shows its own prompt, and a weak one what the first has made."""
    body: dict[str, Any] = {
        "enable_hr": True,
        "hr_scale": 1.5,
        "hr_upscaler": "Lanczos",
        "hr_prompt": "a blue circle on a white background",
    }
    strong, weak = (image(ask(http, **body, denoising_strength=strength)) for strength in (1, 0.05))

    assert ["blue", "red"] == [centre_colour(each) for each in (strong, weak)]


@pytest.mark.slow
def test_each_of_several_images_is_a_source(http: httpx.Client) -> None:
    """The results are in their order, and each shows its own source."""
    scenes = [Scene("circle", "blue", "white"), Scene("circle", "green", "black")]
    body = {"init_images": [encoded(draw(each)) for each in scenes], "prompt": "", "denoising_strength": 0.2}
    answer = ask(http, "img2img", **body)
    shown = [(centre_colour(image(answer, index)), border_colour(image(answer, index))) for index in range(2)]

    assert [("blue", "white"), ("green", "black")] == shown
    assert ([0, 1], 2) == (info(answer)["all_seeds"], len(answer.json()["images"]))


def test_enlarged_images_are_in_their_order(http: httpx.Client) -> None:
    """Each is as large as requested, and is the same otherwise."""
    sources = [STAR, draw(Scene("circle", "blue", "black"))]
    rows = [{"name": str(index), "data": encoded(each)} for index, each in enumerate(sources)]
    body = {"imageList": rows, "upscaler_1": "Lanczos", "upscaling_resize": 2}
    made = [decoded(each) for each in http.post("/sdapi/v1/extra-batch-images", json=body).json()["images"]]

    assert [(256, 256)] * 2 == [each.size for each in made]
    assert all(difference(each.resize(STAR.size), source) < 3 for each, source in zip(made, sources, strict=True))


def test_comments_have_no_effect_on_the_image(http: httpx.Client) -> None:
    """It is that of the prompt without them, and their words show in it only if the option is off."""
    prompt = f"{BASE['prompt']} # a green star"
    plain, commented = image(ask(http)), image(ask(http, prompt=prompt))
    kept = image(ask(http, prompt=prompt, override_settings={"enable_prompt_comments": False}))

    assert plain.tobytes() == commented.tobytes() != kept.tobytes()


def test_stored_images_are_those_of_the_response(http: httpx.Client, outputs: Path) -> None:
    """They are stored where a request asks for it, also without being in its response, and no other is."""
    answer = ask(http, n_iter=2, save_images=True)
    hidden = ask(http, seed=5, save_images=True, send_images=False)
    ask(http, "img2img", init_images=[encoded(STAR)], save_images=True)
    ask(http)
    first, second, third = sorted((outputs / "txt2img-images").rglob("*.png"))
    (other,) = (outputs / "img2img-images").rglob("*.png")

    assert [base64.b64decode(each) for each in answer.json()["images"]] == [first.read_bytes(), second.read_bytes()]
    assert ["00000-0.png", "00001-1.png", "00002-5.png", "00000-0.png"] == [
        each.name for each in (first, second, third, other)
    ]
    assert [] == hidden.json()["images"] == hidden.json()["warnings"]
    with Image.open(third) as stored:
        assert info(hidden)["infotexts"][0] == stored.info["parameters"]
