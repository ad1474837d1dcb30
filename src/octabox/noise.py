"""How the noise of a request is sampled, and what it begins from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from octabox.errors import InvalidParameterError

#: Maximum pixels of a side, or of padding: noise is sampled completely before it is cut off.
MAX_SIDE = 16_384


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

    Raises:
        InvalidParameterError: A side is less than 1 or above `MAX_SIDE`.
    """

    width: int | None = None
    height: int | None = None
    scale: float = 1.0

    def __post_init__(self) -> None:
        for name, side in (("width", self.width), ("height", self.height)):
            if side is not None and not 1 <= side <= MAX_SIDE:
                message = f"The {name} of the initial noise is {side}; it must be from 1 to {MAX_SIDE} pixels."
                raise InvalidParameterError(message, parameter="workflow.noise")


@dataclass(frozen=True)
class LatentFill:
    """The content of the masked part of the latents of an image, from which denoising starts.

    Args:
        content: Noise, or nothing.
        image: Call parameter for the image.
        mask: Call parameter for the mask.
    """

    content: Literal["noise", "blank"]
    image: str
    mask: str
