"""Which noise schedulers fit a model, told before it is loaded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from octabox import demo
from octabox.catalog.pipelines import load_catalog
from octabox.config.model import ModelConfig
from octabox.errors import IncompatibleWeightsError
from octabox.service.model_schedulers import ModelSchedulers, find_incompatibility, model_schedulers, traits_of
from octabox.service.served_model import ServedModel
from octabox.types import SchedulerChoice

FLOWS = {"_class_name": "FlowMatchEulerDiscreteScheduler", "shift": 3.0}


def served(source: Path | str, pipeline: str = "StableDiffusionPipeline", **fields: Any) -> ServedModel:
    """Return a model of this class at this place."""
    config = ModelConfig.model_validate({"name": "m", "model": str(source), **fields})
    return ServedModel(config, load_catalog().pipelines[pipeline])


def folder(place: Path, content: object, name: str = "scheduler") -> Path:
    """Return a folder that says this of its scheduler."""
    (place / name).mkdir(parents=True)
    text = content if isinstance(content, str) else json.dumps(content)
    (place / name / "scheduler_config.json").write_text(text, encoding="utf-8")
    return place


def known(model: ServedModel) -> ModelSchedulers:
    """Return what is known of a model's schedulers."""
    return model_schedulers(model, load_catalog())


def test_a_model_recommends_its_own() -> None:
    """Where its configuration names none."""
    found = known(served(demo.FOLDER))

    assert ("DDIMScheduler", "DDIMScheduler", False) == (found.default, found.recommended, found.matches_flows)
    assert {"fits": True, "reason": None, "recommended": True} == found.compatibility("DDIMScheduler")
    assert not found.compatibility("EDMEulerScheduler")["fits"]


def test_a_models_configuration_recommends_another() -> None:
    """By any name, with settings."""
    found = known(served(demo.FOLDER, scheduler="deis_karras"))

    assert ("DDIMScheduler", "DEISMultistepScheduler") == (found.default, found.recommended)
    assert {"name": "DEISMultistepScheduler", "settings": {"use_karras_sigmas": True}} == found.to_json()["recommended"]


def test_a_model_that_matches_flows_is_told_by_its_file(tmp_path: Path) -> None:
    """Solvers with a form for flows fit, others do not."""
    found = known(served(folder(tmp_path, FLOWS), "StableDiffusion3Pipeline"))

    assert found.matches_flows
    assert found.compatibility("UniPCMultistepScheduler")["fits"]
    assert not found.compatibility("DDIMScheduler")["fits"]


def test_what_the_file_leaves_out_is_the_classs_default(tmp_path: Path) -> None:
    """An empty configuration of a scheduler of flows still is one."""
    model = served(folder(tmp_path, {"_class_name": "FlowMatchEulerDiscreteScheduler"}), "StableDiffusion3Pipeline")
    subject = traits_of(model, load_catalog())

    assert subject is not None
    assert subject.matches_flows
    assert 1.0 == subject.config["shift"]


def test_a_component_from_elsewhere_counts(tmp_path: Path) -> None:
    """The configuration may take the scheduler from another place."""
    elsewhere = folder(tmp_path / "other", FLOWS, "mine")
    component = {"scheduler": {"model": str(elsewhere), "subfolder": "mine"}}

    assert "FlowMatchEulerDiscreteScheduler" == known(served(demo.FOLDER, components=component)).default


@pytest.mark.parametrize("pipeline", ["StableDiffusionPipeline", "ConsistencyModelPipeline", "ShapEImg2ImgPipeline"])
def test_what_only_loading_tells_is_not_guessed(tmp_path: Path, pipeline: str) -> None:
    """A model that says nothing of its scheduler has no word on any."""
    found = known(served(tmp_path, pipeline, scheduler="euler"))

    assert ("", "EulerDiscreteScheduler", {}) == (
        found.default,
        found.recommended,
        found.compatibility("EulerDiscreteScheduler"),
    )
    assert found.to_json()["own"] is None


@pytest.mark.parametrize("content", ["{", "\x00", "[1", '{"_class_name": '])
def test_a_broken_file_is_a_typed_error(tmp_path: Path, content: str) -> None:
    """With its name."""
    with pytest.raises(IncompatibleWeightsError, match=r"scheduler_config\.json is not valid JSON"):
        known(served(folder(tmp_path, content)))


@pytest.mark.parametrize("content", [[], 3, {}, {"_class_name": 3}, {"_class_name": "NoSuchScheduler"}])
def test_a_file_that_says_nothing_is_no_crash(tmp_path: Path, content: object) -> None:
    """Nor is anything made up."""
    assert "" == known(served(folder(tmp_path, content))).default


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("DPM++ 2M Karras", ""),
        ("Euler a Karras", "requires 'use_karras_sigmas'"),
        ("DDIMInverse", "inverts an image into noise"),
    ],
)
def test_a_name_is_told_with_its_settings(name: str, words: str) -> None:
    """What a schedule needs counts too."""
    found = find_incompatibility(SchedulerChoice(name), traits_of(served(demo.FOLDER), load_catalog()), load_catalog())

    assert bool(words) == (found is not None)
    assert words in (found.reason if found else "")
