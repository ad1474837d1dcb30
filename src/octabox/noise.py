"""How the noise of a request is sampled."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Variation:
    """Variation noise: noise of a second seed that is mixed into the initial noise.

    Args:
        seed: The second seed; it increases by one for each output, while the seed of the request is kept.
        strength: Fraction from 0 to 1: 0 is the request's seed alone, 1 the second seed alone.
    """

    seed: int
    strength: float


@dataclass(frozen=True)
class InitialNoise:
    """The noise from which denoising starts.

    Args:
        width: Width in pixels of another size, whose noise is placed in the centre; None for that of the image.
        height: Height in pixels of it; None for that of the image.
        scale: Factor of the noise.
    """

    width: int | None = None
    height: int | None = None
    scale: float = 1.0
