"""The unmodified openai client against a real server and the embedded model; what the images show is checked."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest
from PIL import Image

from demo_pictures import Scene, border_colour, centre_colour, draw
from octabox.media.metadata.chunks import read_metadata

STEPS: dict[str, Any] = {"num_inference_steps": 20, "guidance_scale": 3}
PROMPT = "a large yellow star on a blue background"


@pytest.fixture
def client(address: str) -> Iterator[openai.OpenAI]:
    """Return OpenAI's client for our server."""
    with openai.OpenAI(base_url=f"{address}/v1", api_key="none") as client:
        yield client


def picture(text: str | None) -> Image.Image:
    """Return the image in a base64 text."""
    return Image.open(io.BytesIO(base64.b64decode(text or "")))


def as_png(image: Image.Image) -> bytes:
    """Return an image as a PNG file."""
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def generate(client: openai.OpenAI, **options: Any) -> Any:
    """Ask for images of the embedded model as base64."""
    known = {name: options.pop(name) for name in ("n", "size", "response_format", "prompt") if name in options}
    known = {"prompt": PROMPT, "response_format": "b64_json", **known}
    return client.images.generate(model="demo", extra_body={**STEPS, "seed": 1, **options}, **known)


def test_an_image_shows_what_the_words_said(client: openai.OpenAI) -> None:
    """The centre has the colour of the shape, and the border that of the background."""
    answer = generate(client)
    shown = picture(answer.data[0].b64_json)

    assert ("yellow", "blue") == (centre_colour(shown), border_colour(shown))


def test_workflows_and_weights_go_along(client: openai.OpenAI) -> None:
    """What steers an image in our own API does so here, as JSON and, in an edit, as a field of a form."""
    words = {"prompt": "a (yellow:1.3) star on a blue background", "prompt_syntax": "a1111"}
    larger = picture(generate(client, **words, workflow={"upscale": 2}).data[0].b64_json)
    wide = client.images.edit(
        model="demo",
        image=as_png(draw(Scene("star", "yellow", "blue"))),
        prompt=PROMPT,
        response_format="b64_json",
        extra_body={**STEPS, "seed": 1, "workflow": '{"outpaint": {"left": 32}}'},
    )

    assert (256, 256) == larger.size
    assert (160, 128) == picture((wide.data or [])[0].b64_json).size


def test_three_images_have_three_seeds(client: openai.OpenAI) -> None:
    """``n`` images are different, and each item reports its own seed."""
    answer = generate(client, n=3, seed=41)

    assert [41, 42, 43] == [item.seed for item in answer.data]
    assert 3 == len({item.b64_json for item in answer.data})


def test_a_seed_that_is_not_given_is_reported(client: openai.OpenAI) -> None:
    """The drawn seed of a request makes the same image again."""
    first = generate(client, seed=None)
    again = generate(client, seed=first.data[0].seed)

    assert first.data[0].b64_json == again.data[0].b64_json


def test_a_url_leads_to_the_image(client: openai.OpenAI) -> None:
    """By default, as with OpenAI, an image is a URL; its metadata can be read back."""
    answer = generate(client, response_format="url")
    file = httpx.get(answer.data[0].url, trust_env=False)

    assert "image/png" == file.headers["content-type"]
    assert PROMPT == read_metadata(file.content)["params"]["prompt"]
    assert 1 == read_metadata(file.content)["seed"]


def test_an_edit_repaints_the_mask_alone(client: openai.OpenAI) -> None:
    """Where the mask is transparent the image is painted anew, and elsewhere it stays."""
    before = draw(Scene("square", "red", "white", "large", 0.36))
    mask = Image.new("RGBA", before.size, (0, 0, 0, 255))
    mask.paste((0, 0, 0, 0), (24, 24, 104, 104))
    answer = client.images.edit(
        model="demo",
        image=as_png(before),
        mask=as_png(mask),
        prompt="a large green circle on a white background",
        response_format="b64_json",
        extra_body={**STEPS, "seed": 1},
    )
    after = picture(answer.data[0].b64_json if answer.data else None)

    assert ("green", "white") == (centre_colour(after), border_colour(after))


@pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning")  # OpenAI itself gives variations up
def test_a_variation_looks_like_its_image(client: openai.OpenAI) -> None:
    """A variation is another image of the same colours."""
    before = draw(Scene("circle", "purple", "yellow", "large", 0.36))
    answer = client.images.create_variation(
        model="demo", image=as_png(before), response_format="b64_json", extra_body={**STEPS, "seed": 1, "strength": 0.4}
    )
    after = picture(answer.data[0].b64_json if answer.data else None)

    assert ("purple", "yellow") == (centre_colour(after), border_colour(after))
    assert before.tobytes() != after.tobytes()


def test_partial_images_come_before_the_result(client: openai.OpenAI) -> None:
    """A stream brings the partial images that were asked for, in order, and then the whole image."""
    events = list(
        client.images.generate(
            model="demo", prompt=PROMPT, stream=True, partial_images=2, extra_body={**STEPS, "seed": 1}
        )
    )
    kinds = [event.type for event in events]
    shown = picture(events[-1].b64_json)

    assert ["image_generation.partial_image"] * 2 + ["image_generation.completed"] == kinds
    assert ("yellow", "blue") == (centre_colour(shown), border_colour(shown))


def test_models_are_listed(client: openai.OpenAI) -> None:
    """The list holds the embedded model, and it can be retrieved by its name."""
    assert ["demo"] == [model.id for model in client.models.list()]
    assert "demo" == client.models.retrieve("demo").id


def test_a_model_goes_out_of_memory_and_comes_back(address: str) -> None:
    """Unloading ends the model's process; loading brings it back."""
    with httpx.Client(base_url=address, trust_env=False, timeout=240) as http:
        loaded = http.post("/v1/models/demo/load")
        gone = http.post("/v1/models/demo/unload")
        model = http.get("/v1/models/demo").json()

        assert loaded.is_success
        assert gone.is_success
        assert not model.get("status")
        assert http.post("/v1/models/demo/load").is_success
