"""Steps are counted and stopped by each means that pipelines offer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from diffusers import (
    CMStochasticIterativeScheduler,
    ConsistencyModelPipeline,
    DDIMScheduler,
    DDPMPipeline,
    DDPMScheduler,
    DiffusionPipeline,
    StableDiffusionPipeline,
    UNet2DModel,
)
from diffusers.utils import BaseOutput

from octabox import demo
from octabox.catalog.entries import ProgressBy
from octabox.engine.worker.steps import StepCallback
from tiny import unet

STEPS = 4


class StopHereError(Exception):
    """Raised in the middle of a call."""


class BarePipeline(DiffusionPipeline):  # type: ignore[misc]
    """A custom pipeline without callback and progress bar."""

    def __init__(self, unet: UNet2DModel, scheduler: DDIMScheduler) -> None:
        super().__init__()
        self.register_modules(unet=unet, scheduler=scheduler)

    @torch.no_grad()
    def __call__(self, num_inference_steps: int = 10) -> BaseOutput:
        """Denoise."""
        sample = torch.zeros(1, 3, 8, 8)
        self.scheduler.set_timesteps(num_inference_steps)
        for time in self.scheduler.timesteps:
            sample = self.scheduler.step(self.unet(sample, time).sample, time, sample).prev_sample
        return BaseOutput(images=sample)


def with_callback() -> DiffusionPipeline:
    """Return a pipeline that has the callback at the end of a step."""
    return StableDiffusionPipeline.from_pretrained(demo.FOLDER)


def with_legacy_callback() -> DiffusionPipeline:
    """Return a pipeline with the legacy callback."""
    return ConsistencyModelPipeline(unet(), CMStochasticIterativeScheduler())


def with_progress_bar() -> DiffusionPipeline:
    """Return a pipeline with a progress bar only."""
    return DDPMPipeline(unet(), DDPMScheduler())


def with_nothing() -> DiffusionPipeline:
    """Return a pipeline with neither."""
    return BarePipeline(unet(), DDIMScheduler())


CASES = (
    (with_callback, "callback_on_step_end"),
    (with_legacy_callback, "callback"),
    (with_progress_bar, "progress_bar"),
    (with_nothing, "denoiser"),
)


def call(pipe: DiffusionPipeline, steps: StepCallback) -> Any:
    """Call a pipeline with a step callback."""
    pipe.set_progress_bar_config(disable=True)
    arguments = {"prompt": "a red star"} if isinstance(pipe, StableDiffusionPipeline) else {}
    with steps.installed():
        return pipe(**arguments, num_inference_steps=STEPS, **steps.call_arguments())


@pytest.mark.parametrize(("make", "by"), CASES)
def test_every_step_is_counted(make: Any, by: ProgressBy) -> None:
    """Each step is reported once, with the number of steps."""
    reported: list[tuple[int, int]] = []

    def on_step(taken: int, total: int, _: Mapping[str, Any]) -> None:
        reported.append((taken, total))

    pipe = make()
    call(pipe, StepCallback(pipe, on_step, by))

    assert [(taken, STEPS) for taken in range(1, STEPS + 1)] == reported


@pytest.mark.parametrize(("make", "by"), CASES)
def test_a_call_is_stopped_between_steps(make: Any, by: ProgressBy) -> None:
    """An exception at a step ends the call, and the next call counts its own steps."""
    reported: list[int] = []

    def stop_at_two(taken: int, _total: int, _tensors: Mapping[str, Any]) -> None:
        reported.append(taken)
        if taken == 2 and len(reported) == 2:
            raise StopHereError

    pipe = make()
    with pytest.raises(StopHereError):
        call(pipe, StepCallback(pipe, stop_at_two, by))
    call(pipe, StepCallback(pipe, stop_at_two, by))

    assert [1, 2, *range(1, STEPS + 1)] == reported
