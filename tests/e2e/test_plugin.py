"""A pipeline that is not of diffusers, of an installed package and of a single file, on real servers."""

from __future__ import annotations

import base64
import json
import math
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import yaml

from octabox.media import audio
from octabox.media.limits import MediaLimits
from serving import running_server

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "plugin-pipeline"
NAME = "SpectrogramVocoderPipeline"

#: The tone that the spectrogram is of.
HERTZ = 440

#: Pip installs the package into a folder, and four servers and commands start with it.
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder into which pip has installed the example, as it installs any package."""
    target = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    # Where the builder is not here, pip fetches it.
    command += ["--no-build-isolation"] if find_spec("hatchling") else []
    subprocess.run([*command, "--target", str(target), str(EXAMPLE)], check=True, timeout=240)
    return target


@pytest.fixture(scope="module")
def environment(site: Path) -> dict[str, str]:
    """Return what makes Python find the example."""
    return {"PYTHONPATH": os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")])}


@pytest.fixture(scope="module")
def made(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the weights that the example makes, and the spectrogram of a tone."""
    folder = tmp_path_factory.mktemp("made")
    run(environment, "spectrogram_vocoder.make", folder / "vocoder", "--tone", HERTZ, folder / "s.npy")
    return folder


@pytest.fixture(scope="module")
def models(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of models that holds these weights."""
    folder = tmp_path_factory.mktemp("models")
    (folder / "vocoder").symlink_to(made / "vocoder")
    return folder


@pytest.fixture(scope="module")
def http(models: Path, environment: dict[str, str]) -> Iterator[httpx.Client]:
    """Return a client of a server that runs where the example is installed."""
    with (
        running_server(models, environment=environment) as url,
        httpx.Client(base_url=url, timeout=240, trust_env=False) as client,
    ):
        yield client


def run(environment: dict[str, str], module: str, *words: object) -> subprocess.CompletedProcess[str]:
    """Run a module in a Python that finds what the environment says."""
    command = [sys.executable, "-m", module, *map(str, words)]
    env = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
    return subprocess.run(command, env=env, capture_output=True, text=True, check=True, timeout=240)


def body(made: Path, **change: Any) -> dict[str, Any]:
    """Return a request for the audio of the tone."""
    array = base64.b64encode((made / "s.npy").read_bytes()).decode()
    params = {"spectrogram": f"data:application/x-npy;base64,{array}", **change.pop("params", {})}
    return {"model": "vocoder", "params": params, "seed": 1, "output": {"response": "b64_json"}, **change}


def check_audio(content: bytes) -> None:
    """Make sure that a file is a second of the tone."""
    sound = audio.decode(content, parameter="output", limits=MediaLimits())
    samples = sound.samples.mean(axis=0)
    strength = np.abs(np.fft.rfft(samples)) ** 2
    hertz = np.fft.rfftfreq(len(samples), 1 / sound.rate)
    near = np.abs(hertz - HERTZ) < 60

    assert 16_000 == sound.rate
    assert math.isclose(1, len(samples) / sound.rate, abs_tol=0.05)
    assert math.isclose(HERTZ, hertz[strength.argmax()], rel_tol=0.1)
    assert strength[near].sum() > 0.8 * strength.sum()
    assert samples.std() > 0.05


def check_served(http: httpx.Client, made: Path) -> None:
    """Make sure that a server makes the audio."""
    response = http.post("/v1/generations", json=body(made))
    assert response.is_success, response.text
    answer = response.json()
    (output,) = answer["outputs"]

    assert (NAME, "audio-to-audio") == (answer["pipeline"], answer["task"])
    assert ("audio", "audio/wav", []) == (output["kind"], output["media_type"], answer["warnings"])
    check_audio(base64.b64decode(output["b64_json"]))


def test_an_installed_package_is_served(http: httpx.Client, made: Path) -> None:
    """The spectrogram of a tone makes an audio of that tone, by nothing but what pip installed."""
    check_served(http, made)


def test_what_it_takes_is_known(http: httpx.Client) -> None:
    """The schema of its parameters has the words of its docstring."""
    schema = http.get("/v1/models/vocoder/schema").json()

    assert (NAME, ["spectrogram"]) == (schema["x-pipeline"], schema["required"])
    assert {"spectrogram", "num_inference_steps"} == set(schema["properties"])
    assert schema["properties"]["spectrogram"]["description"].startswith("Natural logarithms of the mel energies")
    assert 4 == schema["properties"]["num_inference_steps"]["default"]


def test_a_wrong_spectrogram_is_an_error_of_its_own(http: httpx.Client, made: Path) -> None:
    """What the call itself refuses comes back as it says it, and the next request is served."""
    response = http.post("/v1/generations", json=body(made, params={"spectrogram": [[0.5, 0.5]]}))

    assert 400 <= response.status_code < 500, response.text
    assert "of shape (64, columns)" in response.json()["error"]["message"]
    check_served(http, made)


def test_it_can_be_cancelled(http: httpx.Client, made: Path) -> None:
    """A request that would take long ends between two steps, and the next is served."""
    answers: list[httpx.Response] = []
    long = body(made, params={"num_inference_steps": 1000, "spectrogram": np.zeros((64, 2000)).tolist()}, id="long")
    waiting = threading.Thread(target=lambda: answers.append(http.post("/v1/generations", json=long)))
    waiting.start()
    end = time.monotonic() + 240
    while time.monotonic() < end:
        state = http.get("/v1/generations/long").json()
        if state.get("progress", {}).get("step", 0) > 0:
            break
        time.sleep(0.02)
    assert state["progress"]["steps"] == 1000
    http.delete("/v1/generations/long")
    waiting.join(30)

    assert 499 == answers[0].status_code
    assert "cancelled" == http.get("/v1/generations/long").json()["status"]
    check_served(http, made)


def test_the_command_line_has_it(environment: dict[str, str], models: Path, made: Path, tmp_path: Path) -> None:
    """It is listed, described and run as those of diffusers are."""
    shown = run(environment, "octabox", "pipelines", NAME).stdout
    words = ["vocoder", "-i", f"spectrogram={made / 's.npy'}", "-o", tmp_path / "out.wav", "--seed", 1]
    run(environment, "octabox", "run", *words, "--models", models)

    assert "spectrogram" in shown
    assert "audio-to-audio" in shown
    check_audio((tmp_path / "out.wav").read_bytes())


@pytest.mark.parametrize("named", ["SpectrogramVocoderPipeline", ["pipeline", "SpectrogramVocoderPipeline"]])
def test_a_single_file_is_served(made: Path, tmp_path: Path, named: str | list[str]) -> None:
    """The class serves from a file in the folder of pipelines; also where weights name it as code of their repository."""
    (tmp_path / "pipelines").mkdir()
    source = EXAMPLE / "src" / "spectrogram_vocoder" / "pipeline.py"
    (tmp_path / "pipelines" / "vocoder.py").write_bytes(source.read_bytes())
    weights = tmp_path / "vocoder"
    (weights).mkdir()
    for path in (made / "vocoder").iterdir():
        (weights / path.name).symlink_to(path)
    index = (weights / "model_index.json").read_text(encoding="utf-8")
    (weights / "model_index.json").unlink()
    index = index.replace("spectrogram_vocoder.pipeline", "octabox_pipelines.vocoder")
    (weights / "model_index.json").write_text(json.dumps({**json.loads(index), "_class_name": named}), encoding="utf-8")
    if isinstance(named, list):
        model = {"name": "vocoder", "model": str(weights), "pipeline": NAME, "allow_remote_code": True}
        (tmp_path / "vocoder.yaml").write_text(yaml.safe_dump(model), encoding="utf-8")
    with running_server(tmp_path) as url, httpx.Client(base_url=url, timeout=240, trust_env=False) as client:
        check_served(client, made)


def test_a_name_of_diffusers_is_refused(tmp_path: Path) -> None:
    """A class that calls itself as one of diffusers does not come in its place, and the log says so."""
    (tmp_path / "pipelines").mkdir()
    theirs = "from diffusers import DiffusionPipeline\nclass DDPMPipeline(DiffusionPipeline): pass"
    (tmp_path / "pipelines" / "thief.py").write_text(theirs, encoding="utf-8")
    with running_server(tmp_path) as url, httpx.Client(base_url=url, timeout=240, trust_env=False) as client:
        found = client.get("/v1/catalog/pipelines/DDPMPipeline").json()

    assert "thief" not in str(found)
