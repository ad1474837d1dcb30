"""The keys of a model for its noise scheduler."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from octabox.config.model import ModelConfig


def model(**fields: Any) -> ModelConfig:
    """Return a configuration."""
    return ModelConfig(name="mine", model="owner/name", **fields)


@pytest.mark.parametrize(
    ("fields", "own", "settings"),
    [
        ({}, {}, {}),
        ({"prediction_type": "v_prediction"}, {"prediction_type": "v_prediction"}, {"prediction_type": "v_prediction"}),
        (
            {"scheduler": {"name": "euler", "use_karras_sigmas": True}, "prediction_type": "sample"},
            {"prediction_type": "sample"},
            {"use_karras_sigmas": True, "prediction_type": "sample"},
        ),
        ({"scheduler": {"name": "euler", "prediction_type": "epsilon"}}, {}, {"prediction_type": "epsilon"}),
        ({"scheduler": {"name": "euler", "settings": {"beta_end": 1}}}, {}, {"beta_end": 1}),
    ],
)
def test_what_replaces_the_settings_of_the_files(
    fields: dict[str, Any], own: dict[str, Any], settings: dict[str, Any]
) -> None:
    """A prediction type is one of the model; settings of a scheduler are those of this one."""
    assert own == model(**fields).own_scheduler_settings
    assert settings == model(**fields).scheduler_settings


@pytest.mark.parametrize("value", ["v", "noise", "", 1, ["epsilon"]])
def test_another_prediction_type_is_refused(value: object) -> None:
    """The names are those of diffusers."""
    with pytest.raises(ValidationError, match="prediction_type"):
        model(prediction_type=value)
