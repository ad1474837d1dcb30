"""What a model predicts is set in its configuration, for its own scheduler and for all that are built from it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import makers
from calling import call, run
from octabox import demo
from octabox.catalog.pipelines import load_catalog
from octabox.config.discovery import discover
from octabox.config.model import ModelConfig
from octabox.engine.messages import WorkerOptions
from octabox.engine.worker.loading.models import load
from octabox.engine.worker.runner import Runner
from octabox.engine.worker.single_files.stated_scheduler import apply_configured_settings
from octabox.errors import LoadError
from octabox.hub.adapters.registry import AdapterRegistry
from octabox.service.checks.checker import ModelChecker, entries_of
from octabox.service.model_schedulers import traits_of
from octabox.service.selection.resolver import resolve_current
from octabox.types import SchedulerChoice

PIPELINE = json.loads((demo.FOLDER / "model_index.json").read_text())["_class_name"]

PARAMS = {"prompt": "a red circle", "num_inference_steps": 4, "guidance_scale": 3.0}


@pytest.fixture(scope="module")
def silent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the embedded model, which predicts velocities, with a scheduler that says that it predicts noise."""
    folder = shutil.copytree(demo.FOLDER, tmp_path_factory.mktemp("models") / "silent")
    file = folder / "scheduler/scheduler_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "prediction_type": "epsilon"}))
    return folder


def image(folder: Path, scheduler: str | None, **fields: Any) -> np.ndarray[Any, Any]:
    """Return the image of a model by a scheduler."""
    config = ModelConfig(name="x", model=str(folder), **fields)
    runner = Runner(load(config, PIPELINE, WorkerOptions(device="cpu")))
    choice = SchedulerChoice(scheduler) if scheduler else None
    return np.asarray(run(runner, call(PIPELINE, PARAMS, scheduler=choice)).outputs[0][0].value)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Of numpy in diffusers.
@pytest.mark.parametrize("scheduler", [None, "EulerDiscreteScheduler", "DPMSolverMultistepScheduler"])
def test_every_scheduler_follows(silent: Path, scheduler: str | None) -> None:
    """The image is that of the model whose files state it."""
    expected = image(demo.FOLDER, scheduler)

    assert np.array_equal(expected, image(silent, scheduler, prediction_type="v_prediction"))
    assert not np.array_equal(expected, image(silent, scheduler))


def test_it_is_known_before_the_model_is_loaded(silent: Path) -> None:
    """So that the server checks schedulers for what the model predicts."""
    (silent.parent / "m.yaml").write_text("model: silent\nprediction_type: v_prediction\n")
    model = resolve_current(discover(silent.parent).models["m"], load_catalog())
    traits = traits_of(model, load_catalog())

    assert traits is not None
    assert "v_prediction" == traits.config["prediction_type"]


@pytest.mark.parametrize(
    ("name", "words"),
    [("StableDiffusion3Pipeline", "FlowMatchEulerDiscreteScheduler has no setting `prediction_type`")],
)
def test_a_scheduler_without_the_setting(name: str, words: str, tmp_path: Path) -> None:
    """Loading and the check say which."""
    pipe = makers.pipelines()[name].make()
    with pytest.raises(LoadError, match=words):
        apply_configured_settings(pipe, ModelConfig(name="x", model="x", prediction_type="epsilon"))

    pipe.save_pretrained(tmp_path / "tiny")
    (tmp_path / "m.yaml").write_text("model: tiny\nprediction_type: epsilon\n")
    checker = ModelChecker(AdapterRegistry(None, None), resolve_current)
    found = checker.problems(entries_of(discover(tmp_path)), load_catalog())

    assert [("prediction_type", f"{words}.")] == [(each.key, each.message) for each in found]
