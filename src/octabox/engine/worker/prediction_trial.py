"""Find out by a trial whether a scheduler combines the outputs of a model correctly, and convert them if it does not.

Some solvers combine the outputs of several steps as they are. That is correct for noise, which is the same in each step of an
ideal model, and not for velocities.
"""

from __future__ import annotations

import copy
import inspect
import warnings
from types import MethodType
from typing import Any

import torch

#: Steps of a trial: enough for solvers that combine the outputs of several steps.
STEPS = 12

#: Largest difference between the samples of a model that predicts noise and of one that does not, relative to the largest
#: number. That of correct schedulers is below 0.001: their timesteps lie between those of the noise levels.
MAX_DIFFERENCE = 0.01

#: Prediction types for which the output of an ideal model is known, the default first.
NOISE, VELOCITY, SAMPLE = "epsilon", "v_prediction", "sample"

#: Those that a trial has an ideal model for.
PREDICTIONS = (NOISE, VELOCITY, SAMPLE)


def mishandles_prediction(scheduler: Any) -> bool:
    """Return whether a scheduler takes other steps with a model of its prediction type than with one that predicts noise.

    The models of the trial know the result, and are equal but for what they predict.

    Args:
        scheduler: The scheduler, with its configuration.
    """
    prediction = scheduler.config.get("prediction_type")
    if prediction not in {VELOCITY, SAMPLE} or getattr(scheduler, "alphas_cumprod", None) is None:
        return False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            expected, again = (denoise(_for_noise(scheduler), NOISE) for _ in range(2))
            actual = denoise(copy.deepcopy(scheduler), prediction)
    except (ValueError, TypeError, AttributeError, RuntimeError, IndexError, NotImplementedError):
        # A scheduler whose steps need more than an output cannot be tried; the call reports its errors.
        return False
    largest = expected.abs().amax(dim=1)
    # Steps with noise of their own cannot be compared.
    is_repeatable = torch.equal(expected, again)
    return is_repeatable and bool(((expected - actual).abs().amax(dim=1) > MAX_DIFFERENCE * largest).any())


def convert_to_noise(scheduler: Any) -> Any:
    """Return a scheduler for noise, whose steps first convert the outputs of a model of the prediction type of this one.

    Args:
        scheduler: The scheduler, with its configuration.
    """
    prediction = scheduler.config.prediction_type
    converted = _for_noise(scheduler)

    # A method, so that a copy of the scheduler has the step of the copy.
    def step(self: Any, output: torch.Tensor, timestep: Any, sample: torch.Tensor, *args: Any, **options: Any) -> Any:
        noisy = self.scale_model_input(sample, timestep)
        scale, deviation = noise_factors(self.alphas_cumprod, float(timestep))
        noise = scale * output + deviation * noisy if prediction == VELOCITY else (noisy - scale * output) / deviation
        return type(self).step(self, noise.to(output.dtype), timestep, sample, *args, **options)

    converted.step = MethodType(step, converted)
    return converted


def _for_noise(scheduler: Any) -> Any:
    """Return a copy of a scheduler for models that predict noise."""
    copied = copy.deepcopy(scheduler)
    copied.register_to_config(prediction_type=NOISE)
    return copied


@torch.no_grad()
def denoise(scheduler: Any, prediction: str) -> torch.Tensor:
    """Return the samples after each step of a scheduler with an ideal model, one in a row.

    Args:
        scheduler: The scheduler.
        prediction: What the model predicts.
    """
    result = torch.linspace(-0.9, 0.9, 16).reshape(1, 1, 4, 4)
    generator = torch.Generator().manual_seed(0)
    scheduler.set_timesteps(STEPS)
    sample = torch.randn(result.shape, generator=generator) * scheduler.init_noise_sigma
    options = {"generator": generator} if "generator" in inspect.signature(scheduler.step).parameters else {}
    samples = []
    for timestep in scheduler.timesteps:
        noisy = scheduler.scale_model_input(sample, timestep)
        output = _ideal_output(scheduler.alphas_cumprod, float(timestep), noisy, result, prediction)
        sample = scheduler.step(output, timestep, sample, **options).prev_sample
        samples.append(sample.flatten())
    return torch.stack(samples)


def _ideal_output(
    alphas: torch.Tensor, timestep: float, noisy: torch.Tensor, result: torch.Tensor, prediction: str
) -> torch.Tensor:
    """Return what a model outputs for a noisy sample if it knows the result."""
    return model_output(noisy, result, *noise_factors(alphas, timestep), prediction)


def model_output(
    noisy: torch.Tensor, result: torch.Tensor, scale: float, deviation: float, prediction: str
) -> torch.Tensor:
    """Return the output of a model for a noisy sample.

    Args:
        noisy: The noisy sample.
        result: The result that the model expects.
        scale: Factor of the result in the noisy sample.
        deviation: Factor of the noise.
        prediction: What the model predicts.
    """
    noise = (noisy - scale * result) / deviation
    return {NOISE: noise, SAMPLE: result, VELOCITY: scale * noise - deviation * result}[prediction]


def noise_factors(alphas: torch.Tensor, timestep: float) -> tuple[float, float]:
    """Return the factors of the result and of the noise in a noisy sample."""
    lower = min(int(timestep), len(alphas) - 1)
    upper, share = min(lower + 1, len(alphas) - 1), timestep - lower
    alpha = float(alphas[lower] * (1 - share) + alphas[upper] * share)
    return alpha**0.5, max(1 - alpha, 1e-6) ** 0.5
