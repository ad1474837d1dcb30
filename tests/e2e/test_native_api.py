"""Our own API on a real server and the embedded model; what the images show is checked."""

from __future__ import annotations

import base64
import io
import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from PIL import Image

from demo_pictures import Scene, border_colour, centre_colour, draw

PATH = "/v1/generations"
PROMPT = "a large yellow star on a blue background"
STEPS: dict[str, Any] = {"num_inference_steps": 20, "guidance_scale": 3}


@pytest.fixture(scope="module")
def http(address: str) -> Iterator[httpx.Client]:
    """Return a plain HTTP client for our server."""
    with httpx.Client(base_url=address, timeout=240, trust_env=False) as client:
        yield client


def ask(http: httpx.Client, **change: Any) -> httpx.Response:
    """Ask for an image of the embedded model."""
    body = {"model": "demo", "params": {"prompt": PROMPT, **STEPS}, "seed": 1, "output": {"response": "b64_json"}}
    return http.post(PATH, json={**body, **change})


def colours(content: bytes) -> tuple[str, str]:
    """Return the colours of the centre and the border of an image."""
    shown = Image.open(io.BytesIO(content))
    return centre_colour(shown), border_colour(shown)


def as_png(image: Image.Image) -> bytes:
    """Return an image as a PNG file."""
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def test_an_image_shows_what_the_words_said(http: httpx.Client) -> None:
    """The answer names what was made and how, and its content is the image."""
    answer = ask(http).json()
    (output,) = answer["outputs"]

    assert ("yellow", "blue") == colours(base64.b64decode(output["b64_json"]))
    assert ("demo", "text-to-image", "image", "image/png", 1) == (
        answer["model"],
        answer["task"],
        output["kind"],
        output["media_type"],
        output["seed"],
    )
    assert {"queue", "run", "encode"} <= answer["timings"].keys()


def test_a_link_leads_to_the_image(http: httpx.Client) -> None:
    """By default an output is a link, and the request can be looked at afterwards."""
    answer = ask(http, output={"format": "webp"}, id="linked").json()
    file = http.get(answer["outputs"][0]["url"])

    assert "image/webp" == file.headers["content-type"]
    assert ("yellow", "blue") == colours(file.content)
    assert answer == http.get(f"{PATH}/linked").json()["result"]


def test_a_form_repaints_a_mask(http: httpx.Client) -> None:
    """The files of a form are the images of the call; the task follows from them."""
    before = draw(Scene("square", "red", "white", "large", 0.36))
    mask = Image.new("L", before.size)
    mask.paste(255, (24, 24, 104, 104))
    request = {
        "model": "demo",
        "params": {"prompt": "a large green circle on a white background", **STEPS},
        "seed": 1,
        "output": {"response": "b64_json"},
    }
    files = {"image": as_png(before), "mask_image": as_png(mask)}
    answer = http.post(PATH, data={"request": json.dumps(request)}, files=files).json()

    assert "inpainting" == answer["task"]
    assert ("green", "white") == colours(base64.b64decode(answer["outputs"][0]["b64_json"]))


def test_a_stream_tells_every_step(http: httpx.Client) -> None:
    """Progress grows to the true number of steps; unfinished images come before the finished one."""
    text = ask(http, stream=True, previews=2).text
    told = [block.split("\n") for block in text.strip().split("\n\n")]
    events = [(name.removeprefix("event: "), json.loads(data.removeprefix("data: "))) for name, data in told]
    progress = [data for name, data in events if name == "progress"]
    steps = [data["step"] for data in progress]

    assert ["output", "done"] == [name for name, _ in events if name != "progress"]
    assert steps == sorted(steps)
    assert 20 == steps[-1] == progress[-1]["steps"]
    assert 2 == sum("preview" in data for data in progress)
    assert ("yellow", "blue") == colours(base64.b64decode(events[-2][1]["b64_json"]))


def test_a_running_request_is_cancelled(http: httpx.Client) -> None:
    """Deleting a long request ends it, its client is told, and the next request is served."""
    answers: list[httpx.Response] = []
    long = {"params": {"prompt": PROMPT, "num_inference_steps": 900}, "id": "long"}
    waiting = threading.Thread(target=lambda: answers.append(ask(http, **long)))
    waiting.start()
    wait_until_running(http, "long")
    ended = http.delete(f"{PATH}/long").json()
    waiting.join(30)

    assert "cancelled" == ended["status"]
    assert 499 == answers[0].status_code
    assert "cancelled" == http.get(f"{PATH}/long").json()["status"]
    assert ask(http).is_success


def wait_until_running(http: httpx.Client, name: str) -> None:
    """Wait until a request takes steps."""
    end = time.monotonic() + 240
    while time.monotonic() < end:
        answer = http.get(f"{PATH}/{name}")
        if answer.is_success and answer.json()["progress"]["phase"] == "running":
            return
        time.sleep(0.05)
    raise AssertionError("the request did not run")


BAD = [
    ({"sede": 3}, 400, "unknown_parameter", "sede"),
    ({"params": {"prompt": "x", "num_inference_stepz": 3}}, 400, "unknown_parameter", "num_inference_stepz"),
    ({"params": {"prompt": "x", "guidance_scale": "much"}}, 400, "invalid_value", "guidance_scale"),
    ({"params": {"prompt": "x", "image": "not base64!"}}, 400, "invalid_image", "image"),
    ({"params": {"prompt": "x", "image": "file:///etc/passwd"}}, 400, "forbidden_url", "image"),
    ({"params": {}}, 400, None, None),
    ({"model": "nobody"}, 404, "model_not_found", None),
    ({"model": None}, 400, "missing_required_parameter", "model"),
    ({"task": "text-to-cheese"}, 400, "task_not_supported", None),
    ({"scheduler": "no_such"}, 400, "scheduler_not_found", None),
    ({"num_outputs": 1000}, 400, "invalid_value", "num_outputs"),
    ({"output": {"format": "gif9"}}, 400, "invalid_value", "output.format"),
    ({"seed": -5}, 400, "invalid_value", "seed"),
]


@pytest.mark.parametrize(("change", "status", "code", "parameter"), BAD, ids=[str(row[0])[:40] for row in BAD])
def test_bad_input_is_an_exact_error(
    http: httpx.Client, change: dict[str, Any], status: int, code: str | None, parameter: str | None
) -> None:
    """A wrong request gets its own status, code and parameter."""
    answer = ask(http, **change)
    error = answer.json()["error"]

    assert status == answer.status_code, answer.text
    assert code in (None, error["code"])
    assert parameter in (None, error["param"])


@pytest.mark.parametrize(("path", "words"), [("videos", "not videos"), ("audio/speech", "not audio")])
def test_a_model_of_images_makes_nothing_else(http: httpx.Client, path: str, words: str) -> None:
    """The embedded model is asked for neither a video nor an audio; the error says what it makes."""
    answer = http.post(f"/v1/{path}", json={"model": "demo", "prompt": "x", "input": "x"})
    error = answer.json()["error"]

    assert (400, "model") == (answer.status_code, error["param"])
    assert words in error["message"]
