"""The settings of a noise scheduler as a form has them: what fits the model, and what it starts from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from octabox import demo
from octabox.catalog.pipelines import load_catalog
from octabox.config.model import ModelConfig
from octabox.errors import SchedulerNotFoundError
from octabox.schedulers.compatibility import incompatibility
from octabox.service.forms.scheduler_settings import settings_schema
from octabox.service.model_schedulers import model_schedulers, traits_of
from octabox.service.served_model import ServedModel


def demo_model() -> ServedModel:
    """Return the embedded model, which predicts noise."""
    return served(Path(demo.FOLDER), "StableDiffusionPipeline")


def flow_model(folder: Path) -> ServedModel:
    """Return a model that was trained by flow matching, with a shift of 3."""
    (folder / "scheduler").mkdir()
    config = {"_class_name": "FlowMatchEulerDiscreteScheduler", "shift": 3.0}
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps(config), encoding="utf-8")
    return served(folder, "StableDiffusion3Pipeline")


def served(source: Path, pipeline: str) -> ServedModel:
    """Return a model of a class."""
    config = ModelConfig.model_validate({"name": "m", "model": str(source)})
    return ServedModel(config, load_catalog().pipelines[pipeline])


def settings(name: str, model: ServedModel | None = None) -> dict[str, Any]:
    """Return the properties of the settings of a scheduler."""
    properties: dict[str, Any] = settings_schema(name, load_catalog(), model)["properties"]
    return properties


def test_settings_have_the_values_that_they_start_from() -> None:
    """Those of the model's configuration where both have one, else those of the name, else those of the class."""
    config = json.loads((Path(demo.FOLDER) / "scheduler" / "scheduler_config.json").read_text(encoding="utf-8"))
    found = settings("dpmpp_2m_sde", demo_model())

    assert "sde-dpmsolver++" == found["algorithm_type"]["default"]
    assert config["beta_end"] == found["beta_end"]["default"]
    assert config.get("timestep_spacing", "leading") == found["timestep_spacing"]["default"]
    assert 2 == found["solver_order"]["default"]


def test_a_schedule_in_the_name_is_selected() -> None:
    """The schedules that the class has are a choice, and the one of the name is its default."""
    found = settings("DPM++ 2M Karras", demo_model())

    assert "karras" == found["schedule"]["default"]
    assert {"karras", "exponential", "beta"} <= set(found["schedule"]["enum"])
    assert "default" not in settings("dpmpp_2m", demo_model())["schedule"]


def test_a_model_that_predicts_noise_has_no_flows() -> None:
    """A switch that its checks refuse is no field; without a model it is one."""
    assert "use_flow_sigmas" in settings("unipc")
    assert "use_flow_sigmas" not in settings("unipc", demo_model())


def test_a_model_that_matches_flows_has_only_its_schedules(tmp_path: Path) -> None:
    """The schedules for models that predict noise are left out, and the shift of the model is the default."""
    model = flow_model(tmp_path)
    found = settings("unipc", model)

    assert "use_karras_sigmas" not in found
    assert "karras" not in found.get("schedule", {}).get("enum", ())
    assert 3.0 == settings("FlowMatchEulerDiscreteScheduler", model)["shift"]["default"]


def test_what_states_the_training_is_hidden_at_first() -> None:
    """The solver's own settings are not."""
    found = settings("euler", demo_model())
    hidden = {name for name, each in found.items() if each["x-octabox"]["advanced"]}

    assert {"beta_start", "beta_schedule", "num_train_timesteps"} <= hidden
    assert not hidden & {"schedule", "timestep_spacing", "s_churn"}


def test_the_switches_of_schedules_are_set_by_the_choice_of_one(tmp_path: Path) -> None:
    """They are no fields of their own, and one that the model's configuration has on is selected."""
    assert "use_karras_sigmas" not in settings("euler", demo_model())
    (tmp_path / "scheduler").mkdir()
    config = {"_class_name": "EulerDiscreteScheduler", "beta_schedule": "scaled_linear", "use_exponential_sigmas": True}
    (tmp_path / "scheduler" / "scheduler_config.json").write_text(json.dumps(config), encoding="utf-8")
    found = settings("EulerDiscreteScheduler", served(tmp_path, "StableDiffusionPipeline"))

    assert "exponential" == found["schedule"]["default"]


def test_settings_without_effect_are_left_out() -> None:
    """No code of the class reads them."""
    for entry in load_catalog().schedulers.values():
        assert not set(entry.unread) & set(settings(entry.name))


@pytest.mark.parametrize("flows", [False, True], ids=["noise", "flows"])
def test_every_choice_is_accepted(tmp_path: Path, flows: bool) -> None:
    """For each scheduler that fits, no choice of its form contradicts the model, and each schema is JSON."""
    model = flow_model(tmp_path) if flows else demo_model()
    catalog = load_catalog()
    traits = traits_of(model, catalog)
    assert traits is not None
    fitting = [name for name, why in model_schedulers(model, catalog).incompatibilities.items() if why is None]
    refused = []
    for name in fitting:
        found = settings(name, model)
        json.dumps(found, allow_nan=False)
        for setting, schema in found.items():
            for choice in schema.get("enum", (True, False) if schema.get("type") == "boolean" else ()):
                if setting != "schedule" and choice != schema.get("default"):
                    why = incompatibility(catalog.schedulers[name], traits, {setting: choice})
                    refused += [(name, setting, choice)] if why else []

    assert len(fitting) > 1
    assert [] == refused


def test_an_unknown_scheduler() -> None:
    """It has no settings."""
    with pytest.raises(SchedulerNotFoundError):
        settings("no-such-scheduler")
