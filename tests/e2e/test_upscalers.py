"""Networks of the ESRGAN kind, served as models by every wire."""

from __future__ import annotations

import base64
import io
import json
import os
import pickle
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

import upscalers

PIPELINE = "ImageUpscalingPipeline"


class Code:
    """Something that a pickle would run."""

    def __reduce__(self) -> tuple[Any, ...]:
        return print, ("run",)


@pytest.fixture(scope="module")
def models(registry: Path) -> Path:
    """Return a folder of models: networks that repeat pixels, one with a configuration, and files that are none."""
    upscalers.save(upscalers.nearest(4), registry / "4x-nearest.pth", "params_ema")
    upscalers.save(upscalers.esrgan(2), registry / "2x-esrgan.safetensors")
    upscalers.save(upscalers.nearest(2), registry / "twice.pth")
    (registry / "small-tiles.yaml").write_text(
        "name: small-tiles\nmodel: twice.pth\ndefaults: {tile: 16, tile_overlap: 4}\n", encoding="utf-8"
    )
    lora = {"unet.up.lora_A.weight": torch.zeros(1, 2), "unet.up.lora_B.weight": torch.zeros(2, 1)}
    save_file(lora, registry / "lora.safetensors")
    for name in ("stranger", "unknown"):
        save_file({"some.weight": torch.zeros(2)}, registry / f"{name}.safetensors")
    (registry / "code.pth").write_bytes(pickle.dumps({"body.0.weight": Code()}))
    whole = (registry / "2x-esrgan.safetensors").read_bytes()
    (registry / "cut.safetensors").write_bytes(whole[: len(whole) // 2])
    (registry / "named.yaml").write_text(f"model: unknown.safetensors\npipeline: {PIPELINE}\n", encoding="utf-8")
    (registry / "dressed.yaml").write_text("model: twice.pth\nconfig: some/model\n", encoding="utf-8")
    return registry


@pytest.fixture(scope="module")
def http(models: Path, shared: httpx.Client) -> httpx.Client:
    """Return a client of a server over the folder."""
    return shared


def pixels(width: int = 24, height: int = 16) -> np.ndarray:
    """Return the pixels of an image of random colours."""
    return np.random.default_rng(0).integers(256, size=(height, width, 3), dtype=np.uint8)


def content(values: np.ndarray) -> bytes:
    """Return an image as a file."""
    file = io.BytesIO()
    Image.fromarray(values).save(file, "PNG")
    return file.getvalue()


def url(values: np.ndarray) -> str:
    """Return an image as a data URL."""
    return f"data:image/png;base64,{base64.b64encode(content(values)).decode()}"


def made(encoded: str) -> np.ndarray:
    """Return the pixels of an image that came back."""
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(encoded))))


def repeated(values: np.ndarray, scale: int) -> np.ndarray:
    """Return pixels, each of them so many times in both directions."""
    return values.repeat(scale, 0).repeat(scale, 1)


def body(model: str, values: np.ndarray, **params: Any) -> dict[str, Any]:
    """Return a request of the native API."""
    return {"model": model, "params": {"image": url(values), **params}, "output": {"response": "b64_json"}}


def test_a_file_is_a_model(http: httpx.Client) -> None:
    """It is listed with its class and its task, and its schema has the words of its docstring."""
    model = http.get("/v1/models/4x-nearest").json()
    schema = http.get("/v1/models/4x-nearest/schema").json()

    assert "4x-nearest" in {each["id"] for each in http.get("/v1/models").json()["data"]}
    assert "4x-nearest" == model["id"]
    assert (PIPELINE, ["image-to-image"], ["image"]) == (schema["x-pipeline"], schema["x-tasks"], schema["required"])
    assert {"image", "tile", "tile_overlap"} == set(schema["properties"])


@pytest.mark.parametrize("params", [{}, {"tile": 0}, {"tile": 10, "tile_overlap": 3}])
def test_an_image_becomes_larger(http: httpx.Client, params: dict[str, int]) -> None:
    """By the native API, each pixel is repeated as the network does it, whatever the tiles."""
    answer = http.post("/v1/generations", json=body("4x-nearest", pixels(), **params)).json()
    (output,) = answer["outputs"]

    assert ([], PIPELINE, "image-to-image") == (answer["warnings"], answer["pipeline"], answer["task"])
    assert np.array_equal(repeated(pixels(), 4), made(output["b64_json"]))


@pytest.mark.parametrize("route", ["edits", "variations"])
@pytest.mark.parametrize("prompt", ["", "larger"])
def test_openai_edits(http: httpx.Client, route: str, prompt: str) -> None:
    """By OpenAI's routes, too; of words, which its clients always send, a warning says that they are unused."""
    files = {"image": ("i.png", content(pixels()))}
    data = {"model": "4x-nearest", "prompt": prompt, "response_format": "b64_json"}
    answer = http.post(f"/v1/images/{route}", data=data, files=files)

    assert answer.is_success, answer.text
    assert [bool(prompt)] == ["'prompt'" in str(answer.json().get("warnings", []))]
    assert np.array_equal(repeated(pixels(), 4), made(answer.json()["data"][0]["b64_json"]))


@pytest.mark.parametrize(("model", "scale"), [("4x-nearest", 4), ("small-tiles", 2), ("small-tiles", 4)])
def test_localai_upscale(http: httpx.Client, model: str, scale: int) -> None:
    """By LocalAI's route, once or as often as the scale needs."""
    data = {"model": model, "scale": str(scale), "response_format": "b64_json"}
    answer = http.post("/v1/images/upscale", data=data, files={"image": ("i.png", content(pixels()))})

    assert answer.is_success, answer.text
    assert np.array_equal(repeated(pixels(), scale), made(answer.json()["data"][0]["b64_json"]))


def test_the_metadata_name_the_tiles(http: httpx.Client) -> None:
    """What a configuration sets is used, and stands in the image."""
    (output,) = http.post("/v1/generations", json=body("small-tiles", pixels())).json()["outputs"]

    assert {"tile": 16, "tile_overlap": 4} == output["metadata"]["params"]
    assert PIPELINE == output["metadata"]["pipeline"]


def test_it_can_be_cancelled_between_tiles(http: httpx.Client) -> None:
    """A request that would take long ends between two tiles, and the next is served."""
    answers: list[httpx.Response] = []
    long = {**body("small-tiles", pixels(1500, 1500), tile=8, tile_overlap=4), "id": "long"}
    waiting = threading.Thread(target=lambda: answers.append(http.post("/v1/generations", json=long)))
    waiting.start()
    end = time.monotonic() + 240
    while time.monotonic() < end:
        state = http.get("/v1/generations/long").json()
        if state.get("progress", {}).get("step", 0) > 0:
            break
        time.sleep(0.02)
    http.delete("/v1/generations/long")
    waiting.join(30)

    assert 374 * 374 == state["progress"]["steps"]
    assert 499 == answers[0].status_code
    assert http.post("/v1/generations", json=body("small-tiles", pixels())).is_success


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("lora", "is a LoRA, not a model"),
        ("stranger", "The model family of"),
        ("code", "would run code"),
        ("cut", "truncated"),
        ("named", "is not supported by spandrel"),
        ("dressed", "does not use `config:`"),
    ],
)
def test_a_file_that_is_none_is_refused(http: httpx.Client, model: str, words: str) -> None:
    """The error says what the file is, and the server goes on."""
    response = http.post("/v1/generations", json=body(model, pixels()))

    assert 400 <= response.status_code < 600
    assert words in response.json()["error"]["message"]
    assert http.post("/v1/generations", json=body("4x-nearest", pixels())).is_success


@pytest.mark.parametrize(
    ("params", "parameter"),
    [({"tile": 8, "tile_overlap": 5}, "tile_overlap"), ({"tile": "wide"}, "tile"), ({"prompt": "x"}, "prompt")],
)
def test_a_wrong_request_names_the_parameter(http: httpx.Client, params: dict[str, Any], parameter: str) -> None:
    """It is the client's mistake."""
    response = http.post("/v1/generations", json=body("4x-nearest", pixels(), **params))

    assert 400 == response.status_code, response.text
    assert parameter == response.json()["error"]["param"]


def test_images_that_would_be_too_large_are_refused(http: httpx.Client) -> None:
    """What would be made counts, and nothing is."""
    response = http.post("/v1/generations", json=body("4x-nearest", np.zeros((4096, 2049, 3), np.uint8)))

    assert 400 == response.status_code
    assert "2049x4096, upscaled 4 times" in response.json()["error"]["message"]


def octabox(*words: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command line."""
    env = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
    command = [sys.executable, "-m", "octabox", *map(str, words)]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=240)


@pytest.mark.slow
def test_the_command_line_has_it(models: Path, tmp_path: Path) -> None:
    """A file is listed by its name, and run by its path."""
    (tmp_path / "small.png").write_bytes(content(pixels()))
    listed = json.loads(octabox("list", "--models", models, "--json").stdout)
    words = ["-i", f"image={tmp_path / 'small.png'}", "-o", tmp_path / "big.png"]
    done = octabox("run", models / "4x-nearest.pth", *words, "--models", tmp_path)

    assert {"4x-nearest", "2x-esrgan", "small-tiles"} <= {each["name"] for each in listed}
    assert 0 == done.returncode, done.stderr
    assert np.array_equal(repeated(pixels(), 4), np.asarray(Image.open(tmp_path / "big.png")))


@pytest.mark.slow
def test_without_spandrel_it_is_said(models: Path, tmp_path: Path) -> None:
    """Where the package is missing, the error names it and how to install it."""
    (tmp_path / "small.png").write_bytes(content(pixels()))
    # A finder that hides one package, as if it had never been installed.
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\n"
        "class Hidden:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.partition('.')[0] == 'spandrel':\n"
        "            raise ModuleNotFoundError(name=name)\n"
        "sys.meta_path.insert(0, Hidden())\n",
        encoding="utf-8",
    )
    words = ["run", models / "4x-nearest.pth", "-i", f"image={tmp_path / 'small.png'}", "-o", tmp_path / "big.png"]
    done = octabox(*words, PYTHONPATH=os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))

    assert 0 != done.returncode
    assert "spandrel is not installed" in done.stderr
    assert 'pip install "spandrel"' in done.stderr
