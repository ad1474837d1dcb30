"""Schedulers are built for a call from the model's configuration, or rejected as incompatible."""

from __future__ import annotations

import inspect
import io
from typing import Any

import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DEISMultistepScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    PNDMScheduler,
    SASolverScheduler,
    UniPCMultistepScheduler,
)
from PIL import Image

from embedded import Calls, finish
from octabox.catalog.pipelines import load_catalog
from octabox.engine.local.engine import LocalEngine
from octabox.engine.worker import scheduler_factory
from octabox.engine.worker.prediction_trial import mishandles_prediction
from octabox.engine.worker.scheduler_factory import build_scheduler
from octabox.errors import InvalidParameterError, MissingDependencyError, OctaboxError, UnknownParameterError
from octabox.schedulers.compatibility import ModelTraits, incompatibility
from octabox.schedulers.names import resolve_scheduler
from octabox.types import SchedulerChoice

#: Deprecations of numpy in diffusers.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

#: Schedulers that would give noise or another result, without an error.
REFUSED = (
    "CMStochasticIterativeScheduler",
    "DDIMInverseScheduler",
    "DPMSolverMultistepInverseScheduler",
    "EDMDPMSolverMultistepScheduler",
    "EDMEulerScheduler",
    "FlowMatchEulerDiscreteScheduler",
    "FlowMatchHeunDiscreteScheduler",
    "IPNDMScheduler",
)


@pytest.mark.parametrize("name", REFUSED)
async def test_a_scheduler_that_cannot_work_is_refused(engine: LocalEngine, calls: Calls, name: str) -> None:
    """A pair that would give noise is rejected, with the reason from the configurations."""
    with pytest.raises(InvalidParameterError, match=f"{name} does not fit this model: ") as caught:
        await finish(engine, calls(scheduler=SchedulerChoice(name)))

    assert "DDIMScheduler" in caught.value.hint


@pytest.mark.parametrize("name", ["EulerDiscreteScheduler", "DDIMScheduler"])
def test_a_flow_keeps_what_it_was_trained_with(name: str) -> None:
    """A scheduler without flow matching is rejected, others use it; LocalAI replaces the scheduler without a message (L11)."""
    own = FlowMatchEulerDiscreteScheduler(shift=3.0)
    told = build_scheduler(own, dict(own.config), SchedulerChoice("DPMSolverMultistepScheduler")).config

    assert ("flow_prediction", True, 3.0) == (told["prediction_type"], told["use_flow_sigmas"], told["flow_shift"])
    with pytest.raises(
        InvalidParameterError, match="the model was trained by flow matching, which it does not support"
    ):
        build_scheduler(own, dict(own.config), SchedulerChoice(name))


def test_the_default_scheduler_of_a_model_that_predicts_velocities() -> None:
    """A solver that combines noise gets it, whether a request names it or not."""
    own = PNDMScheduler(skip_prk_steps=True, set_alpha_to_one=True, prediction_type="v_prediction")

    built = build_scheduler(own, dict(own.config), None)

    assert mishandles_prediction(own)
    assert ("epsilon", "v_prediction") == (built.config.prediction_type, own.config.prediction_type)


@pytest.mark.slow
async def test_every_scheduler_is_served_or_refused(engine: LocalEngine, calls: Calls) -> None:
    """Each scheduler of diffusers gives an image or a typed error, and the worker keeps running."""
    outcomes: dict[str, str] = {}
    for name in load_catalog().schedulers:
        try:
            await finish(engine, calls(scheduler=SchedulerChoice(name), num_inference_steps=3))
            outcomes[name] = "served"
        except (InvalidParameterError, UnknownParameterError, MissingDependencyError):
            outcomes[name] = "refused"
        except OctaboxError as error:
            outcomes[name] = f"{type(error).__name__}: {error}"

    assert {"served", "refused"} == set(outcomes.values()), outcomes
    assert set(REFUSED) <= {name for name, outcome in outcomes.items() if outcome == "refused"}


async def test_deis_makes_an_image_of_its_own(engine: LocalEngine, calls: Calls) -> None:
    """Its short name is that class, which makes another image than the model's scheduler."""
    meant = resolve_scheduler("deis", {}, load_catalog().schedulers)
    choice = SchedulerChoice(meant.kind, meant.settings)
    made, own = [await finish(engine, calls(scheduler=each)) for each in (choice, None)]

    assert "DEISMultistepScheduler" == made.artifacts[0].metadata["scheduler"]["name"]
    assert made.artifacts[0].content != own.artifacts[0].content


#: Settings without effect by the catalog, of classes that are compatible with the embedded model, and some with an effect.
SETTINGS = [
    ("LCMScheduler", {"timestep_spacing": "trailing"}, False),
    ("TCDScheduler", {"timestep_spacing": "linspace"}, False),
    ("TCDScheduler", {"timestep_scaling": 0.1}, False),
    ("TCDScheduler", {"thresholding": True, "dynamic_thresholding_ratio": 0.1, "sample_max_value": 0.5}, False),
    ("TCDScheduler", {"clip_sample_range": 0.1}, False),
    ("LCMScheduler", {"original_inference_steps": 20}, True),
    ("LCMScheduler", {"timestep_scaling": 0.1}, True),
    ("DDIMScheduler", {"timestep_spacing": "trailing"}, True),
    ("DDIMScheduler", {"thresholding": True, "dynamic_thresholding_ratio": 0.1, "sample_max_value": 0.5}, True),
]


@pytest.mark.parametrize(("name", "settings", "counts"), SETTINGS)
async def test_what_nothing_reads_changes_nothing(
    engine: LocalEngine, calls: Calls, name: str, settings: dict[str, Any], counts: bool
) -> None:
    """Settings without effect do not change the image, and others are not listed as such."""
    with_, without = [
        Image.open(io.BytesIO((await finish(engine, calls(scheduler=choice))).artifacts[0].content)).tobytes()
        for choice in (SchedulerChoice(name, settings), SchedulerChoice(name))
    ]

    assert counts == (with_ != without)
    assert counts == (not set(settings) & set(load_catalog().scheduler(name).unread))


#: A flow matching pipeline, with several schedulers.
PIPELINE = load_catalog().pipelines["WanPipeline"]

#: Schedulers of flow matching models.
FLOWS = {
    "plain": FlowMatchEulerDiscreteScheduler(shift=3.0),
    "by size": FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
    "of a solver": UniPCMultistepScheduler(
        prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=5.0, solver_type="bh2"
    ),
}


def fitting(own: Any) -> list[str]:
    """Return the schedulers that are compatible with a model that has this one."""
    catalog = load_catalog()
    subject = ModelTraits(type(own).__name__, dict(own.config), PIPELINE)
    pipelines = catalog.pipelines.values()
    return [name for name, entry in catalog.schedulers.items() if not incompatibility(entry, subject, {}, pipelines)]


def remainder(scheduler: Any, steps: int = 20) -> float:
    """Return the remaining noise of a perfect flow model of a single image, as a part of the initial noise."""
    moves = (
        scheduler.config.get("use_dynamic_shifting") and "mu" in inspect.signature(scheduler.set_timesteps).parameters
    )
    scheduler.set_timesteps(steps, **({"mu": 1.0} if moves else {}))
    noise = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    image, sample = torch.full_like(noise, 0.5), noise.clone()
    for moment in scheduler.timesteps:
        part = float(moment) / scheduler.config["num_train_timesteps"]
        sample = scheduler.step((sample - image) / part, moment, sample, return_dict=False)[0]
    return float((sample - image).abs().mean() / (noise - image).abs().mean())


@pytest.mark.parametrize(("own", "name"), [(own, name) for own in FLOWS for name in fitting(FLOWS[own])])
def test_compatible_schedulers_remove_the_noise(own: str, name: str) -> None:
    """A compatible scheduler takes a perfect model from noise to its image."""
    scheduler = build_scheduler(FLOWS[own], dict(FLOWS[own].config), SchedulerChoice(name), PIPELINE)

    assert remainder(scheduler) < 0.05


def test_schedulers_with_flow_matching_are_compatible() -> None:
    """The list includes the common schedulers."""
    wanted = {"DPMSolverMultistepScheduler", "DPMSolverSinglestepScheduler", "UniPCMultistepScheduler"}

    assert all(wanted <= set(fitting(own)) for own in FLOWS.values())
    assert "EulerDiscreteScheduler" not in fitting(FLOWS["plain"])


@pytest.mark.parametrize("kind", [DEISMultistepScheduler, SASolverScheduler])
def test_schedulers_that_stop_early(kind: Any) -> None:
    """They support flow matching, and are rejected, since about an eighth of the noise would remain."""
    torch.manual_seed(0)
    form = kind(use_flow_sigmas=True, prediction_type="flow_prediction", flow_shift=3.0)

    assert type(form).__name__ not in fitting(FLOWS["plain"])
    assert 0.2 > remainder(form) > 0.1


def test_the_shift_is_that_of_the_model() -> None:
    """That holds for all names of the setting."""
    plain, solver = FLOWS["plain"], FLOWS["of a solver"]
    built = build_scheduler(plain, dict(plain.config), SchedulerChoice("UniPCMultistepScheduler"), PIPELINE)
    back = build_scheduler(solver, dict(solver.config), SchedulerChoice("FlowMatchEulerDiscreteScheduler"), PIPELINE)

    assert 3.0 == built.config["flow_shift"]
    assert 5.0 == back.config["shift"]


@pytest.mark.parametrize("name", ["DDIMInverseScheduler", "DPMSolverMultistepInverseScheduler"])
def test_a_schedule_from_the_image_to_the_noise_is_refused(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Where the source of a class does not show it, the timesteps of a trial do."""
    monkeypatch.setattr(scheduler_factory, "incompatibility", lambda *_: None)
    scheduler = DDIMScheduler()

    with pytest.raises(InvalidParameterError, match="inverts an image into noise"):
        build_scheduler(scheduler, dict(scheduler.config), SchedulerChoice(name))


def test_calls_are_independent() -> None:
    """Each scheduler is built from the original configuration of the model."""
    own = DDIMScheduler(beta_schedule="scaled_linear")
    pristine = dict(own.config)
    karras = build_scheduler(own, pristine, SchedulerChoice("EulerDiscreteScheduler", {"use_karras_sigmas": True}))
    plain = build_scheduler(own, pristine, SchedulerChoice("EulerDiscreteScheduler"))

    assert karras.config["use_karras_sigmas"]
    assert not plain.config["use_karras_sigmas"]
    assert dict(own.config) == pristine


@pytest.mark.parametrize("steps", [5, 10, 25])
def test_explicit_timesteps_are_interpolated(steps: int) -> None:
    """They start and end with the schedule, and decrease."""
    own = EulerDiscreteScheduler(beta_schedule="scaled_linear")
    written = (999, 850, 736, 645, 545, 455, 343, 233, 124, 24)
    choice = SchedulerChoice("EulerDiscreteScheduler", {}, "align_your_steps", written)
    scheduler: Any = build_scheduler(own, dict(own.config), choice)
    scheduler.set_timesteps(steps, device="cpu")
    taken = [int(moment) for moment in scheduler.timesteps]

    assert (999, 24, steps) == (taken[0], taken[-1], len(taken))
    assert taken == sorted(set(taken), reverse=True)
    assert steps != len(written) or taken == list(written)


def test_too_many_steps_for_a_schedule() -> None:
    """Two steps must not have the same timestep."""
    own = EulerDiscreteScheduler(beta_schedule="scaled_linear")
    scheduler: Any = build_scheduler(
        own, dict(own.config), SchedulerChoice("EulerDiscreteScheduler", {}, "ays", (999, 500, 1))
    )

    with pytest.raises(InvalidParameterError, match="no room for 2000 steps"):
        scheduler.set_timesteps(2000)


@pytest.mark.parametrize(
    "settings", [{"beta_schedule": "no such"}, {"use_karras_sigmas": True, "use_exponential_sigmas": True}]
)
def test_incompatible_settings(settings: dict[str, Any]) -> None:
    """They are rejected with the message of the class."""
    own = EulerDiscreteScheduler(beta_schedule="scaled_linear")

    with pytest.raises(InvalidParameterError, match="EulerDiscreteScheduler rejected its settings: "):
        build_scheduler(own, dict(own.config), SchedulerChoice("EulerDiscreteScheduler", settings))


@pytest.mark.parametrize(
    ("name", "package"), [("DPMSolverSDEScheduler", "torchsde"), ("LMSDiscreteScheduler", "scipy")]
)
def test_missing_packages(monkeypatch: pytest.MonkeyPatch, name: str, package: str) -> None:
    """The error states how to install the package."""
    monkeypatch.setattr("octabox.catalog.loading.is_installed", lambda module: module != package)
    own = DDIMScheduler(beta_schedule="scaled_linear")

    with pytest.raises(MissingDependencyError, match=f"{package} is not installed") as caught:
        build_scheduler(own, dict(own.config), SchedulerChoice(name))

    assert f'pip install "{package}"' in caught.value.hint


def test_steps_have_their_own_settings() -> None:
    """They are passed to each step, in place of what the pipeline passes; its signature stays that of the class."""
    own = EulerDiscreteScheduler()
    samples = []
    for settings in ({}, {"s_churn": 0.0}, {"s_churn": 5.0}, {"s_churn": 5.0, "s_noise": 0.5}):
        scheduler = build_scheduler(own, dict(own.config), SchedulerChoice("EulerDiscreteScheduler", settings))
        scheduler.set_timesteps(4)
        generator = torch.Generator().manual_seed(0)
        zeros = torch.zeros(1, 4, 4, 4)
        step = scheduler.step(zeros, scheduler.timesteps[0], zeros, s_noise=1.0, generator=generator)
        samples.append(step.prev_sample)

        assert {"s_churn", "generator"} <= set(inspect.signature(scheduler.step).parameters)
        assert "s_churn" not in scheduler.config

    assert torch.equal(samples[0], samples[1])
    assert samples[2].std() > 0
    assert torch.allclose(samples[2] / 2, samples[3])


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("DDIMScheduler", {"s_churn": 1.0}),
        # It has the parameter, and reads it nowhere.
        ("FlowMatchEulerDiscreteScheduler", {"s_churn": 1.0}),
        ("EulerDiscreteScheduler", {"generator": 1}),
        ("DDIMScheduler", {"return_dict": False}),
    ],
)
def test_what_a_step_does_not_take_is_unknown(name: str, settings: dict[str, Any]) -> None:
    """Neither what it ignores, nor what the pipeline passes."""
    own = FlowMatchEulerDiscreteScheduler() if "Flow" in name else DDIMScheduler()
    with pytest.raises(UnknownParameterError, match=f"{name} has no setting '{next(iter(settings))}'"):
        build_scheduler(own, dict(own.config), SchedulerChoice(name, settings))


def test_a_value_of_a_step_has_its_type() -> None:
    """As a setting of the constructor has."""
    own = EulerDiscreteScheduler()
    with pytest.raises(InvalidParameterError, match="s_churn must be a number"):
        build_scheduler(own, dict(own.config), SchedulerChoice("EulerDiscreteScheduler", {"s_churn": "much"}))
