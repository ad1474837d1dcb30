"""The noise of two seeds is mixed."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from diffusers.utils.torch_utils import randn_tensor

from octabox.engine.worker.inputs.latents.noise import apply_variation, slerp
from octabox.errors import InvalidParameterError
from octabox.noise import Variation

SHAPE = (1, 4, 16, 16)


def generator(seed: int) -> torch.Generator:
    """Return a generator of a seed."""
    return torch.Generator().manual_seed(seed)


def mixed(strength: float, wrap: Callable[[torch.Generator], Any] = lambda each: each) -> list[torch.Tensor]:
    """Return two samples of seed 1 mixed with seed 2, by diffusers' `randn_tensor`."""
    source = generator(1)
    with apply_variation({"generator": source}, Variation(2, strength)):
        return [randn_tensor(SHAPE, generator=wrap(source)) for _ in range(2)]


def of(seed: int) -> list[torch.Tensor]:
    """Return two samples of one seed."""
    source = generator(seed)
    return [randn_tensor(SHAPE, generator=source) for _ in range(2)]


@pytest.mark.parametrize(("strength", "seed"), [(0.0, 1), (1.0, 2)])
@pytest.mark.parametrize("wrap", [lambda each: each, lambda each: [each]], ids=["alone", "in a list"])
def test_strengths_of_zero_and_one(strength: float, seed: int, wrap: Callable[[torch.Generator], Any]) -> None:
    """They give exactly the noise of one seed, in every sample."""
    assert all(map(torch.equal, mixed(strength, wrap), of(seed)))


def test_the_norm_is_kept() -> None:
    """Mixed noise has the norm of both samples, unlike their mean, and is more similar to the nearer one."""
    quarter, first, second = mixed(0.25)[0].flatten(), of(1)[0].flatten(), of(2)[0].flatten()
    similarity = [torch.cosine_similarity(quarter, each, dim=0).item() for each in (first, second)]

    assert pytest.approx(1, abs=0.02) == (quarter.norm() / first.norm()).item()
    assert similarity[0] > 0.9 > similarity[1] > 0.3


def test_the_middle() -> None:
    """It is about equally similar to both samples."""
    first, second = of(1)[0].flatten(), of(2)[0].flatten()
    half = slerp(first, second, 0.5)
    angles = [torch.cosine_similarity(half, each, dim=0).item() for each in (first, second)]

    assert pytest.approx(angles[0], rel=0.1) == angles[1]


def test_equal_samples() -> None:
    """A sample mixed with itself is unchanged."""
    first = of(1)[0]

    assert torch.allclose(first, slerp(first, first.clone(), 0.3))


def test_other_generators() -> None:
    """Samples of other generators are unchanged."""
    source, other = generator(1), generator(7)
    torch.manual_seed(3)
    with apply_variation({"generator": source}, Variation(2, 0.5)):
        torch.randn(SHAPE, generator=source)
        found = [torch.randn(SHAPE, generator=other), torch.randn(SHAPE)]
    torch.manual_seed(3)

    assert torch.equal(torch.randn(SHAPE, generator=generator(7)), found[0])
    assert torch.equal(torch.randn(SHAPE), found[1])


@pytest.mark.parametrize("arguments", [{}, {"generator": generator(1)}])
def test_calls_without_noise(arguments: dict[str, Any]) -> None:
    """A pipeline that never samples from a generator has no variations."""
    with pytest.raises(InvalidParameterError, match="nothing to vary"), apply_variation(arguments, Variation(2, 0.5)):
        torch.randn(SHAPE)
