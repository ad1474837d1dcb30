"""Values in the configuration of a scheduler that are none of its settings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from octabox.catalog.loading import import_class
from octabox.catalog.pipelines import load_catalog
from octabox.service.checks.schedulers import invalid_values


def saved_config(name: str, folder: Path, **settings: Any) -> dict[str, Any]:
    """Return the configuration of a scheduler as diffusers saves it."""
    try:
        scheduler = import_class(name)(**settings)
    except (TypeError, ValueError, ImportError) as error:
        pytest.skip(f"it is made of more than defaults: {error}")
    scheduler.save_pretrained(folder)
    found: dict[str, Any] = json.loads((folder / "scheduler_config.json").read_text(encoding="utf-8"))
    return found


@pytest.mark.filterwarnings("ignore:.*__array:DeprecationWarning")  # Of NumPy about torch, in what schedulers compute.
@pytest.mark.parametrize("name", sorted(load_catalog().schedulers))
def test_what_diffusers_saves_is_valid(name: str, tmp_path: Path) -> None:
    """Infinite values too."""
    config = saved_config(name, tmp_path)

    assert [] == [str(each) for each in invalid_values(config, load_catalog().schedulers[name].settings)]


def test_an_invalid_value_is_named() -> None:
    """With what would be valid."""
    settings = load_catalog().schedulers["DDIMScheduler"].settings
    config = {"prediction_type": "nope", "num_train_timesteps": "many", "beta_start": 0.1}

    errors = [each.message for each in invalid_values(config, settings)]
    assert 2 == len(errors)
    assert any("prediction_type" in each and "nope" in each for each in errors)
    assert any("num_train_timesteps" in each for each in errors)
