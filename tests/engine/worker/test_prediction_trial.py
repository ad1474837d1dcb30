"""Schedulers are tried with an ideal model of each prediction type."""

from __future__ import annotations

from typing import Any

import diffusers
import pytest
import torch

from octabox.engine.worker.prediction_trial import convert_to_noise, denoise, mishandles_prediction

#: Deprecations of numpy in diffusers.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

SETTINGS = {"num_train_timesteps": 1000, "beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}


def scheduler(name: str, prediction: str, **settings: Any) -> Any:
    """Return a scheduler for models that predict this."""
    return getattr(diffusers, name).from_config({**SETTINGS, "prediction_type": prediction, **settings})


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
@pytest.mark.parametrize(
    "name",
    ["DDIMScheduler", "EulerDiscreteScheduler", "DPMSolverMultistepScheduler", "DPMSolverSDEScheduler", "LCMScheduler"],
)
def test_those_that_convert_outputs_first(name: str, prediction: str) -> None:
    """They are correct with what the model predicts."""
    assert not mishandles_prediction(scheduler(name, prediction))


def test_one_that_combines_outputs_as_they_are() -> None:
    """It is correct for noise alone, and with converted outputs for velocities too."""
    noise, velocity = (
        scheduler("PNDMScheduler", each, skip_prk_steps=True, set_alpha_to_one=True)
        for each in ("epsilon", "v_prediction")
    )

    assert not mishandles_prediction(noise)
    assert mishandles_prediction(velocity)
    assert torch.allclose(denoise(noise, "epsilon"), denoise(convert_to_noise(velocity), "v_prediction"), atol=1e-4)


def test_what_cannot_be_tried_is_kept() -> None:
    """A scheduler without the noise levels of such models has another kind of prediction."""
    assert not mishandles_prediction(diffusers.FlowMatchEulerDiscreteScheduler())
