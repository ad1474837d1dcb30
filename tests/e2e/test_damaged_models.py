"""A model with damaged files is refused in the same sentence by the check, by the command line, in the list and over HTTP."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from octabox import demo
from serving import running_server


def empty(folder: Path) -> None:
    """Delete the files of a folder."""
    for file in folder.iterdir():
        file.unlink()


def name_another_class(file: Path) -> None:
    """Write a class that does not exist into a configuration."""
    file.write_text(json.dumps({**json.loads(file.read_text()), "_class_name": "Nope"}))


#: The damage of each model, and what is said of it; `{}` is its folder.
DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "list": (
        lambda model: (model / "text_encoder/config.json").write_text("[]"),
        "{}/text_encoder/config.json must hold a JSON object, not list.",
    ),
    "class": (
        lambda model: name_another_class(model / "unet/config.json"),
        "There is no class 'Nope' in diffusers, which {}/unet/config.json names.",
    ),
    "tokenizer": (lambda model: empty(model / "tokenizer"), "{}/tokenizer is empty."),
}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of damaged models."""
    folder: Path = tmp_path_factory.mktemp("damaged") / "models"
    for name, (damage, _) in DAMAGES.items():
        damage(shutil.copytree(demo.FOLDER, folder / name))
    return folder


@pytest.fixture(scope="module")
def client(models: Path) -> Iterator[httpx.Client]:
    """Return a client of a server with these models."""
    with running_server(models) as url, httpx.Client(base_url=url, timeout=120, trust_env=False) as client:
        yield client


def octabox(models: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own, in the folder of the models folder."""
    command = [sys.executable, "-m", "octabox", *words]
    env = {**os.environ, "COLUMNS": "1000"}
    return subprocess.run(command, cwd=models.parent, env=env, capture_output=True, text=True, check=False, timeout=200)


@pytest.mark.slow
@pytest.mark.parametrize("name", DAMAGES)
def test_it_is_the_same_sentence_everywhere(models: Path, client: httpx.Client, name: str) -> None:
    """What a client of the server reads leaves the path of the folder out."""
    sentence = DAMAGES[name][1]
    body = {"model": name, "params": {"prompt": "a red star"}}
    native = client.post("/v1/generations", json=body)
    openai = client.post("/v1/images/generations", json={"model": name, "prompt": "a red star"})
    listed = client.get("/v1/models").json()["problems"]
    checked, run = octabox(models, "check", "models"), octabox(models, "run", name, "a red star")

    for response in (native, openai):
        assert response.is_error
        assert sentence.format(name) in response.json()["error"]["message"]
        assert str(models) not in response.text
    assert sentence.format(name) in [each["message"] for each in listed]
    assert (4, 5) == (checked.returncode, run.returncode), run.stderr
    assert sentence.format(f"models/{name}") in checked.stdout.replace(f"{models.parent}/", "")
    assert sentence.format(models / name) in run.stderr.replace("\n", " ")
    assert "Traceback" not in run.stderr
