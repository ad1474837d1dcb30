"""A cascade of three stages over HTTP and on the command line, with one stage in memory at a time."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from PIL import Image

from makers import pipelines
from serving import running_server

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

STEPS = {"num_inference_steps": 2}

#: The stages of DeepFloyd IF: the third one is the upscaler of Stable Diffusion, as its documentation has it.
STAGES = [
    ("IFPipeline", {**STEPS, "height": 16, "width": 16}),
    ("IFSuperResolutionPipeline", {**STEPS, "height": 32, "width": 32, "noise_level": 100}),
    ("StableDiffusionUpscalePipeline", {**STEPS, "noise_level": 20}),
]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a models folder with tiny models of the three stages, and the cascade of them."""
    folder = tmp_path_factory.mktemp("cascade")
    stages = []
    for number, (kind, params) in enumerate(STAGES, 1):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            pipelines()[kind].make().save_pretrained(str(folder / "weights" / str(number)))
        stages.append({"model": f"weights/{number}", "params": params})
    (folder / "floyd.yaml").write_text(yaml.safe_dump({"stages": stages}), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def url(models: Path) -> Iterator[str]:
    """Yield the address of a server that keeps one model in memory."""
    with running_server(models, "--max-resident", "1") as address:
        yield address


def metadata_of(file: Path) -> dict[str, Any]:
    """Return the metadata of an image, as `octabox show` prints it."""
    words = [sys.executable, "-m", "octabox", "show", str(file), "--json"]
    found: dict[str, Any] = json.loads(subprocess.run(words, check=True, capture_output=True).stdout)
    return found


def check_metadata(metadata: dict[str, Any]) -> None:
    """Check that one metadata has all stages in their order, with one seed."""
    stages = metadata["stages"]

    assert ("floyd", [kind for kind, _ in STAGES]) == (metadata["model"], [each["pipeline"] for each in stages])
    assert {7} == {each["seed"] for each in stages}
    assert all("seconds" in each for each in stages[:-1])


def test_a_request_of_openai_has_one_stage_in_memory(url: str, tmp_path: Path) -> None:
    """At no time are two in memory, and all three have been there."""
    seen: list[frozenset[str]] = []
    done = threading.Event()

    def watch() -> None:
        while not done.is_set():
            data = httpx.get(f"{url}/v1/models", timeout=60).json()["data"]
            seen.append(frozenset(each["id"] for each in data if each.get("status", {}).get("pid")))
            time.sleep(0.05)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        body = {"model": "floyd", "prompt": "a red star", "seed": 7, "response_format": "b64_json"}
        response = httpx.post(f"{url}/v1/images/generations", json=body, timeout=600)
    finally:
        done.set()
        watcher.join()

    assert 200 == response.status_code, response.text
    (tmp_path / "a.png").write_bytes(base64.b64decode(response.json()["data"][0]["b64_json"]))
    check_metadata(metadata_of(tmp_path / "a.png"))
    assert 1 == max(map(len, seen))
    assert {"floyd:1", "floyd:2", "floyd:3"} == frozenset().union(*seen)


def test_an_image_is_made_again(models: Path, tmp_path: Path) -> None:
    """By what the request has set for each stage, unless other settings are given."""
    words = [sys.executable, "-m", "octabox", "run", "--local", "--models", str(models)]
    stages = json.dumps(
        [{"params": {"num_inference_steps": 3}}, {"params": {"noise_level": 50}}, {"scheduler": "ddim"}]
    )
    options = ["--from", "a.png", "-o"]
    for each in (
        ["floyd", "a red star", "--stages", stages, "-o", "a.png"],
        [*options, "b.png"],
        [*options, "c.png", "--stages", "[]"],
    ):
        subprocess.run([*words, *each], cwd=tmp_path, check=True, timeout=600)

    a, b, c = (Image.open(tmp_path / f"{name}.png").tobytes() for name in "abc")  # The seconds of the stages differ.
    assert [None, {"params": {"noise_level": 50}}, {"scheduler": "ddim"}] == metadata_of(tmp_path / "a.png")[
        "workflow"
    ]["stages"]
    assert a == b
    assert [3, 2, 2] == [each["params"]["num_inference_steps"] for each in metadata_of(tmp_path / "c.png")["stages"]]
    assert a != c


def test_the_command_line_makes_the_same_image(url: str, models: Path, tmp_path: Path) -> None:
    """With one progress, and the metadata of all stages; the pixels are those of the server."""
    words = [sys.executable, "-m", "octabox", "run", "--local", "--models", str(models), "floyd", "a red star"]
    subprocess.run([*words, "--seed", "7", "-o", "b.png"], cwd=tmp_path, check=True, timeout=600)
    body = {"model": "floyd", "prompt": "a red star", "seed": 7, "response_format": "b64_json"}
    response = httpx.post(f"{url}/v1/images/generations", json=body, timeout=600)
    served = base64.b64decode(response.json()["data"][0]["b64_json"])
    (tmp_path / "c.png").write_bytes(served)

    check_metadata(metadata_of(tmp_path / "b.png"))
    words = [sys.executable, "-c", "import sys; from PIL import Image; a, b = map(Image.open, sys.argv[1:]); "]
    words[-1] += "sys.exit(a.tobytes() != b.tobytes())"
    assert 0 == subprocess.run([*words, "b.png", "c.png"], cwd=tmp_path, check=False).returncode
