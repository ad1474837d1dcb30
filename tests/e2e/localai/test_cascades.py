"""Cascades by LocalAI's contract: the stages are in EngineArgs, and make one model."""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import diffusers
import grpc
import numpy as np
import psutil
import pytest
import torch
from PIL import Image

from localai_backend import Client, failing, running_backend
from makers import pipelines
from octabox import demo
from octabox.media.metadata.chunks import read_metadata

PROMPT = "a red star"

#: State of a backend with a model.
READY = 2

#: Bytes of a process that has imported torch.
LARGE = 200e6

#: The stages of the embedded model, which paints over its own image.
EMBEDDED: list[Any] = ["demo", {"model": "demo", "task": "image-to-image", "params": {"strength": 0.5}}]

#: Two stages of DeepFloyd IF, in the core's folder of models.
FLOYD: list[dict[str, Any]] = [
    {"model": "weights/small", "params": {"height": 16, "width": 16, "num_inference_steps": 3}},
    {"model": "weights/larger", "params": {"height": 32, "width": 32, "noise_level": 100, "num_inference_steps": 2}},
]

#: The class of each.
CLASSES = {"small": "IFPipeline", "larger": "IFSuperResolutionPipeline"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the core's folder of models, with tiny models of both classes."""
    folder = tmp_path_factory.mktemp("core")
    for name, kind in CLASSES.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            pipelines()[kind].make().save_pretrained(str(folder / "weights" / name))
    return folder


@pytest.fixture(scope="module")
def small() -> Iterator[Client]:
    """Return a client of a backend that holds one model in memory."""
    with running_backend(environment={"OCTABOX_MAX_RESIDENT": "1"}) as client:
        yield client


def load(backend: Client, stages: list[Any], folder: Path | None = None, **fields: Any) -> str:
    """Load a cascade, and return the message."""
    more = fields.pop("arguments", {})
    arguments = json.dumps({"stages": stages, **more})
    path = {"ModelPath": str(folder)} if folder else {}
    answer = backend.load("floyd", ModelFile="/nowhere/floyd", EngineArgs=arguments, **path, **fields)
    assert answer.success
    return str(answer.message)


def workers(backend: Client) -> int:
    """Return the number of processes that hold a model: those that the fork server has started."""
    servers = psutil.Process(backend.process.pid).children()
    return sum(each.memory_info().rss > LARGE for server in servers for each in server.children())


def pixels(file: Path) -> bytes:
    """Return the pixels of an image."""
    with Image.open(file) as image:
        content: bytes = image.convert("RGB").tobytes()
    return content


def by_hand(steps: int = 3) -> np.ndarray:
    """Return what both stages make when diffusers runs them."""
    pipes = [pipelines()[kind].make() for kind in CLASSES.values()]
    for pipe in pipes:
        pipe.set_progress_bar_config(disable=True)
    options = [{**each["params"], "generator": torch.Generator("cpu").manual_seed(7)} for each in FLOYD]
    options[0]["num_inference_steps"] = steps
    image = pipes[0](PROMPT, output_type="pt", **options[0]).images
    return np.asarray(pipes[1](prompt=PROMPT, image=image, **options[1]).images[0])


def test_the_embedded_model_follows_itself(backend: Client, tmp_path: Path) -> None:
    """The parameters of a message are those of the first stage, and the file has the metadata of both."""
    load(backend, EMBEDDED, Model="twice")
    assert backend.image(tmp_path / "made.png", PROMPT, step=4, width=64, height=64, ModelIdentity="twice").success
    metadata = read_metadata((tmp_path / "made.png").read_bytes())

    assert ("twice", "text-to-image") == (metadata["model"], metadata["task"])
    assert ["image-to-image", 4] == [
        metadata["stages"][1]["task"],
        metadata["stages"][0]["params"]["num_inference_steps"],
    ]
    with Image.open(tmp_path / "made.png") as image:
        assert (64, 64) == image.size


def test_all_of_it_is_freed_and_replaced(backend: Client, tmp_path: Path) -> None:
    """Free ends the processes of all stages, and a model in its place has none."""
    stages = ["demo", {**EMBEDDED[1], "dtype": "float32"}]
    load(backend, stages)
    assert backend.image(tmp_path / "a.png").success
    assert 2 == workers(backend)
    assert backend.free().success
    assert 0 == workers(backend)
    load(backend, stages)
    assert backend.image(tmp_path / "b.png").success
    load(backend, EMBEDDED)
    assert backend.image(tmp_path / "c.png").success

    assert 1 == workers(backend)
    # The seconds of a stage are in the metadata.
    assert pixels(tmp_path / "a.png") == pixels(tmp_path / "b.png")


def test_a_later_stage_that_changes_is_another_model(backend: Client, tmp_path: Path) -> None:
    """A cascade with the same first stage replaces the one before."""
    made = []
    for strength in (0.3, 0.9):
        load(backend, ["demo", {**EMBEDDED[1], "params": {"strength": strength}}])
        assert backend.image(tmp_path / "made.png").success
        made.append(pixels(tmp_path / "made.png"))

    assert made[0] != made[1]


@pytest.mark.parametrize(
    ("stages", "fields", "word"),
    [
        (["demo"], {}, "two stages or more"),
        (["demo", "nowhere"], {}, "nowhere"),
        (["demo", {"model": "demo", "dtype": "int4"}], {}, "dtype"),
        (["demo", "demo"], {"PipelineType": "StableDiffusionPipeline"}, "belongs to one model"),
        (["demo", "demo"], {"SchedulerType": "euler"}, "belongs to one model"),
        (["demo", "demo"], {"Quantization": "qint8"}, "belongs to one model"),
        (["demo", "demo"], {"Options": ["num_frames:3"]}, "num_frames"),
    ],
)
def test_what_is_wrong_is_told_before_anything_is_loaded(
    backend: Client, stages: list[Any], fields: dict[str, Any], word: str
) -> None:
    """An error names the stage or the field, and the old model stays."""
    load(backend, EMBEDDED)
    with failing() as told:
        load(backend, stages, **fields)

    assert told[0] in {grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND, grpc.StatusCode.FAILED_PRECONDITION}
    assert word in told[1]
    assert READY == backend.status().state


def test_a_damaged_stage_is_found_before_the_first_is_loaded(backend: Client, tmp_path: Path) -> None:
    """What files show of a later stage is an error of LoadModel, not of the first image."""
    (tmp_path / "broken").mkdir()
    shutil.copy(demo.FOLDER / "model_index.json", tmp_path / "broken")
    with failing() as told:
        load(backend, ["demo", {"model": "broken", "task": "image-to-image"}], tmp_path)

    assert grpc.StatusCode.FAILED_PRECONDITION == told[0]
    assert "has no folder" in told[1]


def test_a_model_that_no_stage_has_is_a_warning(backend: Client) -> None:
    """LocalAI requires a model beside EngineArgs, which the stages need not name."""
    assert "some/model is not among them" in load(backend, EMBEDDED, Model="some/model")
    assert "Model loaded successfully" == load(backend, EMBEDDED, Model="floyd")


@pytest.mark.slow
def test_stages_of_the_models_folder_make_what_diffusers_makes(small: Client, folder: Path, tmp_path: Path) -> None:
    """One request makes the pixels of both stages by hand, with one of them in memory at a time."""
    warnings.simplefilter("ignore")
    diffusers.utils.logging.set_verbosity_error()
    expected, again = by_hand(), by_hand(steps=2)
    load(small, FLOYD, folder, CFGScale=7.0)
    assert 1 == workers(small)
    assert small.image(tmp_path / "a.png", PROMPT, seed=7, step=0).success
    assert 1 == workers(small)
    assert small.image(tmp_path / "b.png", PROMPT, seed=7, step=2).success

    assert expected.tobytes() == pixels(tmp_path / "a.png")
    assert again.tobytes() == pixels(tmp_path / "b.png")
    metadata = read_metadata((tmp_path / "a.png").read_bytes())
    assert list(CLASSES.values()) == [each["pipeline"] for each in metadata["stages"]]
    assert {7} == {each["seed"] for each in metadata["stages"]}
    assert "seconds" in metadata["stages"][0]
