"""The noise and the edges of a call are changed for it alone."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from diffusers import DDPMScheduler
from diffusers.utils.torch_utils import randn_tensor
from PIL import Image

from octabox.engine.protocol import Run
from octabox.engine.worker.inputs.latents.changes import changes_of
from octabox.engine.worker.steps import StepCallback
from octabox.noise import InitialNoise, Variation
from tiny import unet

SHAPE = (1, 4, 8, 16)


class Pipe:
    """A pipeline that samples its latents, and noise in each step."""

    def __init__(self) -> None:
        self.scheduler: Any = DDPMScheduler()
        self.scheduler.set_timesteps(3)
        self.components = {"unet": unet(), "scheduler": self.scheduler}

    def __call__(self, seed: int, run: Run, **arguments: Any) -> tuple[list[torch.Tensor], list[str]]:
        """Return the initial noise and the latents after each step, and the warnings."""
        arguments["generator"] = generator = torch.Generator().manual_seed(seed)
        messages: list[str] = []
        with changes_of(self, run, arguments, StepCallback(self, lambda *_: None, "denoiser"), messages):
            states = [randn_tensor(SHAPE, generator=generator)]
            for timestep in self.scheduler.timesteps:
                zeros = torch.zeros(SHAPE)
                states.append(self.scheduler.step(zeros, timestep, zeros, generator=generator).prev_sample)
        return states, messages


def initial(seed: int, shape: tuple[int, ...] = SHAPE) -> torch.Tensor:
    """Return the first noise of a seed."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_the_noise_of_a_smaller_size_is_in_the_centre() -> None:
    """Around it is the noise of the size itself; the noise of the steps is left as it is."""
    size = {"height": 64, "width": 128}
    plain, _ = Pipe()(1, Run({}), **size)
    states, messages = Pipe()(1, Run({}, noise=InitialNoise(64, 32)), **size)
    small = initial(1, (1, 4, 4, 8))

    assert torch.equal(small, states[0][..., 2:6, 4:12])
    edges = torch.ones(SHAPE[-2:], dtype=torch.bool)
    edges[2:6, 4:12] = False
    assert torch.equal(initial(1)[..., edges], states[0][..., edges])
    assert all(map(torch.equal, plain[1:], states[1:]))
    assert [] == messages


def test_the_noise_of_a_larger_size_is_cut_off() -> None:
    """Its centre is the noise; one side may be larger and the other smaller."""
    states, _ = Pipe()(1, Run({}, noise=InitialNoise(256, 128)), height=64, width=128)
    mixed, _ = Pipe()(1, Run({}, noise=InitialNoise(256, 32)), image=Image.new("RGB", (128, 64)))

    assert torch.equal(initial(1, (1, 4, 16, 32))[..., 4:12, 8:24], states[0])
    assert torch.equal(initial(1, (1, 4, 4, 32))[..., 8:24], mixed[0][..., 2:6, :])


def test_variations_are_of_the_other_size() -> None:
    """The noise in the centre is that of both seeds at that size."""
    noise = InitialNoise(64, 32)
    varied, _ = Pipe()(1, Run({}, noise=noise, variation=Variation(2, 1.0)), height=64, width=128)

    assert torch.equal(initial(2, (1, 4, 4, 8)), varied[0][..., 2:6, 4:12])


def test_the_scale_is_that_of_the_initial_noise() -> None:
    """The noise of the steps keeps its scale."""
    plain, _ = Pipe()(1, Run({}), height=64, width=128)
    scaled, _ = Pipe()(1, Run({}, noise=InitialNoise(scale=0.5)))

    assert torch.equal(plain[0] * 0.5, scaled[0])
    assert all(map(torch.equal, plain[1:], scaled[1:]))


def test_noise_of_another_shape_is_a_warning() -> None:
    """What the pipeline samples is not of the shape of the image, or its size is not known."""
    warning = "'workflow.noise' has no effect: the pipeline samples no noise in the shape of the image"
    for size in ({"height": 64, "width": 64}, {}):
        states, messages = Pipe()(1, Run({}, noise=InitialNoise(32, 32)), **size)

        assert torch.equal(initial(1), states[0])
        assert [True] == [each.startswith(warning) for each in messages]


def test_everything_is_undone() -> None:
    """Also after an error."""
    pipe = Pipe()
    run = Run({}, noise=InitialNoise(scale=2), seamless="xy")
    steps = StepCallback(pipe, lambda *_: None, "denoiser")

    def cancel() -> None:
        with changes_of(pipe, run, {"generator": torch.Generator()}, steps, []):
            assert "step" in vars(pipe.scheduler)
            raise RuntimeError("cancelled")

    with pytest.raises(RuntimeError, match="cancelled"):
        cancel()

    assert "step" not in vars(pipe.scheduler)
    assert torch.equal(initial(1), Pipe()(1, Run({}))[0][0])
