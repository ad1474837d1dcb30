"""Whether a noise scheduler fits a model, told from configurations."""

from __future__ import annotations

from typing import Any

import pytest

from octabox.catalog.pipelines import load_catalog
from octabox.errors import InvalidParameterError, UnknownParameterError
from octabox.schedulers.compatibility import (
    ModelTraits,
    SchedulerConfig,
    check_settings,
    incompatibility,
    schedule_timesteps,
    scheduler_config,
)
from octabox.schedulers.names import resolve_scheduler

EULER, FLOW, MULTISTEP, UNIPC = (
    "EulerDiscreteScheduler",
    "FlowMatchEulerDiscreteScheduler",
    "DPMSolverMultistepScheduler",
    "UniPCMultistepScheduler",
)
NOISE = {"beta_schedule": "scaled_linear", "prediction_type": "epsilon"}
FLOWS = {"shift": 3.0}
EDM = {"sigma_data": 0.5, "sigma_schedule": "karras", "prediction_type": "epsilon"}

#: A solver's configuration as some models of video come with it.
FLOWS_OF_UNIPC = {
    "prediction_type": "flow_prediction",
    "use_flow_sigmas": True,
    "flow_shift": 5.0,
    "solver_type": "bh2",
    "beta_schedule": "linear",
}


def reason(name: str, own: str, config: dict[str, Any], pipeline: str = "", **settings: Any) -> str:
    """Return why a scheduler does not fit a model of these."""
    catalog = load_catalog()
    subject = ModelTraits(own, config, catalog.pipelines.get(pipeline))
    found = incompatibility(catalog.scheduler(name), subject, settings, catalog.pipelines.values())
    return found.reason if found else ""


@pytest.mark.parametrize(
    ("name", "own", "config", "pipeline", "words"),
    [
        (EULER, "DDIMScheduler", NOISE, "", ""),
        ("LCMScheduler", "DDIMScheduler", NOISE, "", ""),
        (
            "PNDMScheduler",
            "DDIMScheduler",
            NOISE | {"prediction_type": "sample"},
            "",
            "it supports only 'epsilon', 'v_prediction'",
        ),
        ("RePaintScheduler", "DDIMScheduler", NOISE, "", "its step requires 'original_image', 'mask'"),
        ("RePaintScheduler", "DDPMScheduler", NOISE, "RePaintPipeline", ""),
        ("UnCLIPScheduler", "DDIMScheduler", NOISE, "", "its 'beta_schedule' cannot be 'scaled_linear'"),
        ("DDIMInverseScheduler", "DDIMScheduler", NOISE, "", "inverts an image into noise"),
        ("CogVideoXDDIMScheduler", "DDIMScheduler", NOISE, "", "it has a setting 'snr_shift_scale'"),
        (
            "HeunDiscreteScheduler",
            EULER,
            NOISE | {"rescale_betas_zero_snr": True},
            "",
            "no setting 'rescale_betas_zero_snr'",
        ),
        ("DDIMScheduler", EULER, NOISE | {"rescale_betas_zero_snr": True}, "", ""),
        ("ScoreSdeVpScheduler", "DDIMScheduler", NOISE, "", "no method 'step'"),
        (FLOW, "DDIMScheduler", NOISE, "", "no setting 'beta_schedule'"),
        (EULER, FLOW, FLOWS, "", "the model was trained by flow matching, which it does not support"),
        (MULTISTEP, FLOW, FLOWS, "", ""),
        ("DEISMultistepScheduler", FLOW, FLOWS, "", "it does not reach a sigma of zero"),
        ("FlowMatchHeunDiscreteScheduler", FLOW, FLOWS, "", ""),
        (
            "FlowMatchHeunDiscreteScheduler",
            FLOW,
            FLOWS | {"use_dynamic_shifting": True},
            "",
            "no setting 'use_dynamic_shifting'",
        ),
        ("PiflowScheduler", FLOW, FLOWS, "FluxPipeline", "it is made for"),
        (MULTISTEP, FLOW, FLOWS, "QwenImagePipeline", "QwenImagePipeline passes its own sigmas"),
        (MULTISTEP, FLOW, FLOWS, "FluxPipeline", ""),
        (UNIPC, FLOW, FLOWS, "QwenImagePipeline", ""),
        (FLOW, UNIPC, FLOWS_OF_UNIPC, "WanPipeline", ""),
        (MULTISTEP, UNIPC, FLOWS_OF_UNIPC, "WanPipeline", ""),
        (
            EULER,
            UNIPC,
            FLOWS_OF_UNIPC,
            "WanPipeline",
            "the model was trained by flow matching, which it does not support",
        ),
        ("EDMDPMSolverMultistepScheduler", "EDMEulerScheduler", EDM, "", ""),
        ("CosineDPMSolverMultistepScheduler", "EDMEulerScheduler", EDM, "", "its 'sigma_data' is 1.0"),
        (EULER, "EDMEulerScheduler", EDM, "", "no setting 'sigma_data'"),
        (EULER, "IPNDMScheduler", {"num_train_timesteps": 1000}, "", "it has a setting 'beta_schedule'"),
    ],
)
def test_pairs_are_told_from_configurations(
    name: str, own: str, config: dict[str, Any], pipeline: str, words: str
) -> None:
    """A pair that would make noise has a reason; one that works has none."""
    told = reason(name, own, config, pipeline)

    assert words in told
    assert bool(words) == bool(told)


def test_all_that_diffusers_calls_compatible_fits() -> None:
    """Its own list for schedulers of noise, save the one of EDM that it counts among them."""
    from diffusers import DDIMScheduler  # noqa: PLC0415 (the other tests need no torch)

    kinds = [kind.__name__ for kind in DDIMScheduler().compatibles]

    assert len(kinds) > 10
    assert ["EDMEulerScheduler"] == [kind for kind in kinds if reason(kind, "DDIMScheduler", NOISE)]


@pytest.mark.parametrize(
    ("own", "config", "settings", "words"),
    [
        (FLOW, FLOWS, {"use_karras_sigmas": True}, "is for models that predict noise"),
        (FLOW, FLOWS, {"timestep_spacing": "trailing"}, "is for models that predict noise"),
        (UNIPC, FLOWS_OF_UNIPC, {"use_exponential_sigmas": True}, "is for models that predict noise"),
        ("DDIMScheduler", NOISE, {"use_flow_sigmas": True}, "is for models that were trained by flow matching"),
        ("DDIMScheduler", NOISE, {"use_karras_sigmas": True}, ""),
    ],
)
def test_settings_that_contradict_the_training_are_refused(
    own: str, config: dict[str, Any], settings: dict[str, Any], words: str
) -> None:
    """Karras sigmas follow from a schedule of noise, which a model that matches flows has not."""
    told = reason(UNIPC, own, config, **settings)

    assert words in told
    assert bool(words) == bool(told)


def built(name: str, own: str, config: dict[str, Any], **settings: Any) -> SchedulerConfig:
    """Return what a scheduler is built of."""
    return scheduler_config(load_catalog().scheduler(name), ModelTraits(own, config), settings)


def test_a_solver_takes_its_form_for_flows() -> None:
    """With the model's shift, whatever its own scheduler calls that."""
    form = {"use_flow_sigmas": True, "prediction_type": "flow_prediction", "flow_shift": 3.0}

    assert form == built(MULTISTEP, FLOW, FLOWS).overrides
    assert {"shift": 5.0} == built(FLOW, UNIPC, FLOWS_OF_UNIPC).overrides
    assert {} == built(UNIPC, UNIPC, FLOWS_OF_UNIPC).overrides


def test_words_of_one_class_are_not_carried_to_another() -> None:
    """A way of solving that only the model's own class knows is left out."""
    solver = built(MULTISTEP, UNIPC, FLOWS_OF_UNIPC | {"base_shift": 0.5})

    assert "solver_type" not in solver.inherited
    assert "linear" == solver.inherited["beta_schedule"]
    assert {"base_shift": 0.5} == solver.extra


def test_a_schedule_that_is_asked_for_takes_the_place_of_the_models() -> None:
    """Of two that exclude each other, the request's holds."""
    config = NOISE | {"use_karras_sigmas": True}

    assert {"use_karras_sigmas": False, "use_exponential_sigmas": True} == (
        built(EULER, EULER, config, use_exponential_sigmas=True).overrides
    )
    assert {} == built(EULER, EULER, config).overrides


@pytest.mark.parametrize(
    ("name", "settings", "error", "words"),
    [
        ("euler", {"eta": 1}, UnknownParameterError, "has no setting 'eta'"),
        ("Euler a Karras", {}, UnknownParameterError, "requires 'use_karras_sigmas'"),
        ("euler", {"use_karras_sigmas": "yes"}, InvalidParameterError, "must be true or false"),
        ("dpmpp_2m", {"solver_type": "bh9"}, InvalidParameterError, "solver_type must be"),
        ("euler", {"beta_start": float("nan")}, InvalidParameterError, "beta_start must be"),
        ("euler", {"num_train_timesteps": 10**12}, InvalidParameterError, "must be from"),
    ],
)
def test_settings_are_checked_against_the_constructor(
    name: str, settings: dict[str, Any], error: type[Exception], words: str
) -> None:
    """What the class does not have is an error that lists what it has."""
    schedulers = load_catalog().schedulers
    meant = resolve_scheduler(name, settings, schedulers)

    with pytest.raises(error, match=words) as caught:
        check_settings(name, meant, schedulers[meant.kind], settings)

    if error is UnknownParameterError:
        assert "num_train_timesteps" in caught.value.choices  # type: ignore[attr-defined]
        assert "num_train_timesteps" in str(caught.value)


def test_timesteps_are_those_of_the_family() -> None:
    """Align Your Steps is another for each family, and refused for those it is not known for."""
    schedulers = load_catalog().schedulers
    meant = resolve_scheduler("euler ays", {}, schedulers)
    entry = schedulers[EULER]

    assert (999, 850) == schedule_timesteps("euler ays", meant, entry, "stable-diffusion")[:2]
    assert (999, 845) == schedule_timesteps("euler ays", meant, entry, "stable-diffusion-xl")[:2]
    with pytest.raises(InvalidParameterError, match="not for flux"):
        schedule_timesteps("euler ays", meant, entry, "flux")
    with pytest.raises(InvalidParameterError, match="accepts no custom timesteps"):
        schedule_timesteps("ddim ays", meant, schedulers["DDIMScheduler"], "stable-diffusion")
