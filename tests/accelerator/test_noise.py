"""What is drawn on an accelerator from a generator of the host."""

from __future__ import annotations

import pytest
import torch

from octabox.engine.worker.inputs.latents.noise import HostNoise

SHAPE = (2, 3)


def draws(device: str) -> torch.Tensor:
    """Return numbers as pipelines draw them that call torch by themselves."""
    generator = torch.Generator("cpu").manual_seed(5)
    plain = torch.rand(SHAPE, device=device, generator=generator)
    return plain + torch.randn(SHAPE, device=torch.device(device), generator=generator)


def test_a_seed_means_the_same_on_every_device() -> None:
    """A call that torch refuses for its generator is made again, with the numbers that the host draws."""
    with pytest.raises(RuntimeError, match="generator"):
        draws("fake")
    made = HostNoise().run("AnyPipeline", lambda: draws("fake"), [])

    assert "fake" == made.device.type
    assert torch.equal(draws("cpu"), made.cpu())


def test_numbers_by_tensors_of_the_device() -> None:
    """Numbers that are drawn by tensors, such as the tokens of a text by their probabilities, are those of the host."""

    def tokens(device: str) -> torch.Tensor:
        generator = torch.Generator("cpu").manual_seed(5)
        chances = torch.tensor([[0.1, 0.4, 0.5], [0.3, 0.3, 0.4]], device=device)
        drawn = torch.multinomial(chances, num_samples=2, generator=generator).float()
        return drawn + torch.empty(2, 2, device=device).uniform_(generator=generator)

    with pytest.raises(RuntimeError, match="generator"):
        tokens("fake")
    made = HostNoise().run("AnyPipeline", lambda: tokens("fake"), [])

    assert "fake" == made.device.type
    assert torch.equal(tokens("cpu"), made.cpu())


def test_nothing_is_said_of_a_call_that_is_made_again() -> None:
    """Warnings of the refused call go with it; those of earlier ones and of its repetition stay."""
    warnings = ["earlier"]

    def call() -> torch.Tensor:
        warnings.append("in the call")
        return draws("fake")

    HostNoise().run("AnyPipeline", call, warnings)
    assert ["earlier", "in the call"] == warnings


def test_a_class_is_refused_once() -> None:
    """Later calls of the class draw on the host at once."""
    host_noise, calls = HostNoise(), []

    def call() -> torch.Tensor:
        calls.append(1)
        return draws("fake")

    host_noise.run("AnyPipeline", call, [])
    assert 2 == len(calls)
    host_noise.run("AnyPipeline", call, [])
    assert 3 == len(calls)


def test_other_errors_are_not_repeated() -> None:
    """What fails for another reason fails at once."""
    calls = []

    def call() -> None:
        calls.append(1)
        raise RuntimeError("out of luck")

    with pytest.raises(RuntimeError, match="out of luck"):
        HostNoise().run("AnyPipeline", call, [])
    assert 1 == len(calls)
