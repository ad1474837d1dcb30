"""Find out by a trial whether a scheduler can solve models of its kind in the requested number of steps.

Solvers of a higher order extrapolate from the outputs of several steps. With few steps and a large guidance scale what they
extrapolate diverges, while solvers of the first order still give the right image. The trial denoises samples of a
distribution that is known, so that the result can be compared with it.
"""

from __future__ import annotations

import copy
import inspect
import warnings
from collections.abc import Mapping
from functools import lru_cache
from itertools import pairwise
from types import MappingProxyType
from typing import Any

import torch
from diffusers.schedulers.scheduling_utils import SchedulerOutput

from octabox.catalog.entries import PipelineEntry
from octabox.engine.worker.prediction_trial import NOISE, PREDICTIONS, SAMPLE, model_output, noise_factors
from octabox.errors import InvalidParameterError

#: Call parameters that decide whether a solver diverges.
STEPS, GUIDANCE = "num_inference_steps", "guidance_scale"

#: Call parameters that replace the timesteps of the scheduler.
SCHEDULES = ("timesteps", "sigmas")

#: All call parameters on which the warnings depend.
DECISIVE = (STEPS, GUIDANCE, *SCHEDULES)

#: Numbers of steps that are tried; with more, all solvers are accurate.
MAX_STEPS = 40

#: Numbers of values and of samples, and the images of the distribution. The prompt describes the first one.
VALUES, SAMPLES, IMAGES = 256, 4, 8

#: Standard deviation of each image; that of all images is 1.
DEVIATION = 0.02

#: Factor of the guidance scale: the images of real models are closer to each other, so that solvers diverge earlier.
MARGIN = 2.5

#: Largest distance of a result from the image, in standard deviations of all images, and in distances of a first-order solver,
#: which is as accurate as its number of steps allows.
MAX_ERROR, MAX_RATIO = 0.3, 2.0

#: Errors of schedulers for numbers of steps that they do not support, or for which they need more than this number.
UNSUPPORTED = (ValueError, TypeError, AttributeError, RuntimeError, LookupError, ArithmeticError, NotImplementedError)


def solver_warnings(pipe: Any, entry: PipelineEntry, params: Mapping[str, Any]) -> list[str]:
    """Return a warning if the scheduler of a pipeline diverges in the requested number of steps.

    Args:
        pipe: The pipeline, with the scheduler of the call.
        entry: Its catalog entry.
        params: The parameters of the request.

    Raises:
        InvalidParameterError: The scheduler does not support so few steps.
    """
    scheduler, steps = getattr(pipe, "scheduler", None), _number(entry, params, STEPS)
    settings = getattr(scheduler, "config", {})
    prediction = settings.get("prediction_type", NOISE)
    is_known = getattr(scheduler, "alphas_cumprod", None) is not None and prediction in PREDICTIONS
    if not is_known or steps is None or not 1 <= steps <= MAX_STEPS or any(params.get(name) for name in SCHEDULES):
        return []
    guidance = _number(entry, params, GUIDANCE) or 1.0
    error = _Trial(scheduler, guidance).error(int(steps))
    if error is None:
        _check_supported(scheduler, int(steps))
        return []
    if error == 0 or steps == 1 or steps >= settings.get("num_train_timesteps", MAX_STEPS + 1):
        # The first step of every solver is of the first order, and no model has more steps than it was trained with.
        return []
    enough = _enough_steps(scheduler, int(steps), guidance)
    advice = f"Use at least {enough} steps, or another scheduler." if enough else "Use another scheduler."
    name = type(scheduler).__name__
    scale = f" at '{GUIDANCE}' {guidance:g}" if guidance > 1 else ""
    return [f"'{STEPS}' {int(steps)} is too few for {name}{scale}: shapes and colours may be wrong. {advice}"]


def _number(entry: PipelineEntry, params: Mapping[str, Any], name: str) -> float | None:
    """Return the number that a call has for a parameter; None if it has none."""
    parameter = entry.parameter(name)
    value = params.get(name, parameter.default if parameter else None)
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _enough_steps(scheduler: Any, steps: int, guidance: float) -> int | None:
    """Return a number of steps in which a scheduler converges; None if there is none that is tried."""
    trial = _Trial(scheduler, guidance)
    candidates = [more for more in range(5, MAX_STEPS + 6, 5) if more > steps]
    # Both of two that follow each other, since a single number may converge by chance.
    return next((more for more, next_ in pairwise(candidates) if trial.error(more) == trial.error(next_) == 0), None)


def _check_supported(scheduler: Any, steps: int) -> None:
    """Check that a scheduler that supports some number of steps supports this one.

    Raises:
        InvalidParameterError: It does not.
    """
    if _has_schedule(scheduler, steps):
        return
    enough = next((more for more in range(steps + 1, MAX_STEPS + 1) if _has_schedule(scheduler, more)), None)
    if enough is not None:
        raise InvalidParameterError(
            f"{type(scheduler).__name__} has no schedule of {steps} step{'s' * (steps != 1)}.",
            hint=f"Use at least {enough} steps, or another scheduler.",
            parameter=STEPS,
        )


def _has_schedule(scheduler: Any, steps: int) -> bool:
    """Return whether a scheduler can set this number of steps."""
    try:
        copy.deepcopy(scheduler).set_timesteps(steps)
    except UNSUPPORTED:
        return False
    return True


class _Trial:
    """Denoises samples of a known distribution with a scheduler; results are kept by its configuration.

    Args:
        scheduler: The scheduler; it is not changed.
        guidance: The guidance scale of the call.
    """

    def __init__(self, scheduler: Any, guidance: float) -> None:
        self._scheduler, self._guidance = scheduler, guidance
        schedule = vars(scheduler).get("set_timesteps")
        self._key = (type(scheduler), repr(sorted(scheduler.config.items())), repr(schedule and schedule.__func__))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Trial) and (self._key, self._guidance) == (other._key, other._guidance)

    def __hash__(self) -> int:
        return hash((self._key, self._guidance))

    @lru_cache(maxsize=256)  # noqa: B019 (equal trials share results, and the number of them is limited)
    def error(self, steps: int) -> float | None:
        """Return how far samples diverge from the image; 0 if they do not, None if the scheduler cannot be tried."""
        scheduler = copy.deepcopy(self._scheduler)
        # A converted scheduler combines noise, which its own method takes.
        vars(scheduler).pop("step", None)
        try:
            with warnings.catch_warnings(), torch.random.fork_rng(devices=()):
                warnings.simplefilter("ignore")
                error = _denoise(scheduler, steps, self._guidance)
                expected = _denoise(_FirstOrder(scheduler), steps, self._guidance)
                return error if error > MAX_ERROR and error > MAX_RATIO * expected else 0.0
        except UNSUPPORTED:
            return None


class _FirstOrder:
    """The solver of the first order, which takes the timesteps of a scheduler.

    Args:
        scheduler: The scheduler, whose timesteps are set.
    """

    init_noise_sigma, config = 1.0, MappingProxyType({"prediction_type": SAMPLE})

    def __init__(self, scheduler: Any) -> None:
        self.alphas_cumprod = scheduler.alphas_cumprod
        self.timesteps = torch.unique(scheduler.timesteps).flip(0)

    def set_timesteps(self, steps: int) -> None:
        """Keep the timesteps."""

    def scale_model_input(self, sample: torch.Tensor, _: Any) -> torch.Tensor:
        """Return the sample, which has the scale of the model's input."""
        return sample

    def step(self, output: torch.Tensor, timestep: Any, sample: torch.Tensor) -> SchedulerOutput:
        """Return the next sample."""
        scale, deviation = noise_factors(self.alphas_cumprod, float(timestep))
        below = self.timesteps[self.timesteps < timestep]
        next_scale, next_deviation = noise_factors(self.alphas_cumprod, float(below[0]) if len(below) else 0.0)
        return SchedulerOutput(next_scale * output + next_deviation * (sample - scale * output) / deviation)


@torch.no_grad()
def _denoise(scheduler: Any, steps: int, guidance: float) -> float:
    """Return the largest distance of a sample from the image of the prompt after all steps."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(IMAGES, VALUES, generator=generator)
    scheduler.set_timesteps(steps)
    sample = torch.randn(SAMPLES, 1, 1, VALUES, generator=generator) * scheduler.init_noise_sigma
    options = {"generator": generator} if "generator" in inspect.signature(scheduler.step).parameters else {}
    prediction, scale = scheduler.config.get("prediction_type") or NOISE, 1 + MARGIN * (guidance - 1)
    for timestep in scheduler.timesteps:
        noisy = scheduler.scale_model_input(sample, timestep)
        factors = noise_factors(scheduler.alphas_cumprod, float(timestep))
        prompted, other = (_expected(noisy, images[:count], *factors) for count in (1, IMAGES))
        result = other + max(scale, 1.0) * (prompted - other)
        sample = scheduler.step(
            model_output(noisy, result, *factors, prediction), timestep, sample, **options
        ).prev_sample
    return float((sample.flatten(1) - images[0]).square().mean(dim=1).sqrt().max())


def _expected(noisy: torch.Tensor, images: torch.Tensor, scale: float, deviation: float) -> torch.Tensor:
    """Return the expected image of noisy samples whose images are close to these."""
    variance = (scale * DEVIATION) ** 2 + deviation**2
    differences = noisy.reshape(SAMPLES, 1, VALUES) - scale * images
    weights = (-differences.square().sum(dim=-1) / (2 * variance)).softmax(dim=1)
    expected = images + scale * DEVIATION**2 / variance * differences
    return (weights[..., None] * expected).sum(dim=1).reshape(noisy.shape)
