"""Bad input of each kind to a real server: an exact error, and a good request after it."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from PIL import Image

GOOD = {"model": "demo", "prompt": "a red circle on a blue background", "num_inference_steps": 2, "seed": 1}


@pytest.fixture(scope="module")
def http(address: str) -> Iterator[httpx.Client]:
    """Return a plain HTTP client for our server."""
    with httpx.Client(base_url=address, timeout=240, trust_env=False) as client:
        yield client


@pytest.fixture(scope="module")
def good(http: httpx.Client) -> str:
    """Return the image of a good request."""
    return str(ask(http, {}).json()["data"][0]["b64_json"])


def ask(http: httpx.Client, change: dict[str, Any]) -> httpx.Response:
    """Send the good request with a change; a value of None leaves the field out."""
    body = {**GOOD, "response_format": "b64_json", **change}
    return http.post("/v1/images/generations", json={name: value for name, value in body.items() if value is not None})


def png(width: int, height: int) -> bytes:
    """Return a PNG file of this size, of one bit per pixel: large ones are made in no time."""
    file = io.BytesIO()
    Image.new("1", (width, height)).save(file, "PNG")
    return file.getvalue()


def data_uri(content: bytes) -> str:
    """Return a file as a data URI."""
    return f"data:image/png;base64,{base64.b64encode(content).decode()}"


BAD = [
    ({"num_inference_stepz": 3}, 400, "unknown_parameter", "num_inference_stepz"),
    ({"num_inference_steps": "many"}, 400, "invalid_value", "num_inference_steps"),
    ({"num_inference_steps": 2.5}, 400, "invalid_value", "num_inference_steps"),
    ({"guidance_scale": True}, 400, "invalid_value", "guidance_scale"),
    ({"prompt": ""}, 400, "missing_required_parameter", "prompt"),
    ({"prompt": None}, 400, "missing_required_parameter", "prompt"),
    ({"n": 0}, 400, None, None),
    ({"n": 1000}, 400, "invalid_value", None),
    ({"size": "1x1"}, 400, "invalid_value", None),
    ({"size": "100000x100000"}, 400, "invalid_value", None),
    ({"size": "big"}, 400, None, None),
    ({"seed": -5}, 400, None, "seed"),
    ({"model": "no-such-model"}, 404, "model_not_found", None),
    ({"model": "../../etc/passwd"}, 404, "model_not_found", None),
    ({"model": "someone/something"}, 404, "model_not_found", None),
    ({"scheduler": "no_such_scheduler"}, 400, "scheduler_not_found", None),
    ({"task": "text-to-cheese"}, 400, "task_not_supported", None),
    ({"output_format": "gif9"}, 400, None, None),
    ({"response_format": "carrier-pigeon"}, 400, None, None),
    ({"image": "file:///etc/passwd"}, 400, "forbidden_url", "image"),
    ({"image": "http://127.0.0.1:1/x.png"}, 400, "forbidden_url", None),
    ({"image": "http://169.254.169.254/latest/meta-data"}, 400, "forbidden_url", None),
    ({"image": "http://[::1]/x.png"}, 400, "forbidden_url", None),
    ({"image": "not base64!"}, 400, "invalid_image", "image"),
    ({"image": data_uri(b"text")}, 400, "invalid_image", "image"),
    ({"image": data_uri(png(64, 64)[:45])}, 400, "invalid_image", "image"),
    ({"image": data_uri(png(20000, 20000))}, 400, "invalid_image", "image"),
    ({"return_dict": False}, 400, None, "return_dict"),
    ({"callback_on_step_end": "os.system"}, 400, None, "callback_on_step_end"),
]


@pytest.mark.parametrize(("change", "status", "code", "parameter"), BAD, ids=[str(row[0])[:40] for row in BAD])
def test_bad_input_is_an_exact_error(
    http: httpx.Client, good: str, change: dict[str, Any], status: int, code: str | None, parameter: str | None
) -> None:
    """A wrong request gets its own status, code and parameter; the next good one gives the same image as ever."""
    answer = ask(http, change)
    error = answer.json()["error"]

    assert status == answer.status_code, answer.text
    assert code in (None, error["code"])
    assert parameter in (None, error["param"])
    assert error["message"]
    assert good == ask(http, {}).json()["data"][0]["b64_json"]


@pytest.mark.parametrize("content", [b"\xff\xfe", b"{", b"[]", b"", b'{"model": "demo", "prompt": "\xff"}'])
def test_a_body_that_is_no_json_is_refused(http: httpx.Client, good: str, content: bytes) -> None:
    """A body that cannot be read is a client's error in OpenAI's shape."""
    answer = http.post("/v1/images/generations", content=content, headers={"content-type": "application/json"})

    assert 400 == answer.status_code
    assert answer.json()["error"]["message"]
    assert good


def test_everything_wrong_is_named_at_once(http: httpx.Client) -> None:
    """One answer names all that is wrong with a request, not only the first."""
    message = ask(http, {"stepz": 1, "guidance_scale": "much"}).json()["error"]["message"]

    assert "stepz" in message
    assert "guidance_scale" in message
