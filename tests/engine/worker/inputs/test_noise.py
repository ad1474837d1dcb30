"""Noise of two seeds, mixed."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from diffusers.utils.torch_utils import randn_tensor

from octabox.engine.worker.inputs.noise import between, varied
from octabox.errors import InvalidParameterError
from octabox.types import Variation

SHAPE = (1, 4, 16, 16)


def generator(seed: int) -> torch.Generator:
    """Return a generator of a seed."""
    return torch.Generator().manual_seed(seed)


def drawn(strength: float, wrap: Callable[[torch.Generator], Any] = lambda each: each) -> list[torch.Tensor]:
    """Return two draws of seed 1 with some of seed 2 mixed in, as diffusers draws."""
    given = generator(1)
    with varied({"generator": given}, Variation(2, strength)):
        return [randn_tensor(SHAPE, generator=wrap(given)) for _ in range(2)]


def of(seed: int) -> list[torch.Tensor]:
    """Return two draws of one seed."""
    given = generator(seed)
    return [randn_tensor(SHAPE, generator=given) for _ in range(2)]


@pytest.mark.parametrize(("strength", "seed"), [(0.0, 1), (1.0, 2)])
@pytest.mark.parametrize("wrap", [lambda each: each, lambda each: [each]], ids=["alone", "in a list"])
def test_the_ends_are_the_seeds_themselves(strength: float, seed: int, wrap: Callable[[torch.Generator], Any]) -> None:
    """Nothing of the other is nothing, all of it is all, in every draw and to the last bit."""
    assert all(map(torch.equal, drawn(strength, wrap), of(seed)))


def test_what_lies_between_is_as_loud_and_near_to_both() -> None:
    """A quarter of the way it is still mostly the first; a mean of the two would be softer."""
    quarter, first, second = drawn(0.25)[0].flatten(), of(1)[0].flatten(), of(2)[0].flatten()
    likeness = [torch.cosine_similarity(quarter, each, dim=0).item() for each in (first, second)]

    assert pytest.approx(1, abs=0.02) == (quarter.norm() / first.norm()).item()
    assert likeness[0] > 0.9 > likeness[1] > 0.3


def test_the_half_way_is_in_the_middle() -> None:
    """It is about as like one as the other; exactly so where both are as loud."""
    first, second = of(1)[0].flatten(), of(2)[0].flatten()
    half = between(first, second, 0.5)
    angles = [torch.cosine_similarity(half, each, dim=0).item() for each in (first, second)]

    assert pytest.approx(angles[0], rel=0.1) == angles[1]


def test_noise_that_is_the_same_stays() -> None:
    """There is no arc between a draw and itself."""
    first = of(1)[0]

    assert torch.allclose(first, between(first, first.clone(), 0.3))


def test_other_draws_are_left_alone() -> None:
    """What comes of another generator, or of none, is no noise of this call."""
    given, other = generator(1), generator(7)
    torch.manual_seed(3)
    with varied({"generator": given}, Variation(2, 0.5)):
        torch.randn(SHAPE, generator=given)
        found = [torch.randn(SHAPE, generator=other), torch.randn(SHAPE)]
    torch.manual_seed(3)

    assert torch.equal(torch.randn(SHAPE, generator=generator(7)), found[0])
    assert torch.equal(torch.randn(SHAPE), found[1])


@pytest.mark.parametrize("arguments", [{}, {"generator": generator(1)}])
def test_there_must_be_something_to_vary(arguments: dict[str, Any]) -> None:
    """A pipeline that takes no generator, or never draws from it, makes no variations."""
    with pytest.raises(InvalidParameterError, match="nothing to vary"), varied(arguments, Variation(2, 0.5)):
        torch.randn(SHAPE)


def test_without_a_variation_nothing_is_watched() -> None:
    """A call that asks for none draws as ever."""
    with varied({}, None):
        found = torch.randn(SHAPE, generator=generator(1))

    assert torch.equal(of(1)[0], found)
